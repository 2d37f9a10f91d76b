"""Images by name in a storage directory that the tests make, and names without an image."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.stack import ImageStack, pack_stack
from sundog.runtime.container.search_path import ENGINE_PATH
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher import image_choice, main
from sundog.runtime.launcher.image import Image, find_image
from sundog.runtime.launcher.storage import Storage
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, make_image, messages
from tests.runtime.launcher.installation import CHILD_CALLS, CHILD_OPENS, VERSION, stub_of, trace

MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "etc")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    path = tmp_path / "storage"
    path.mkdir(mode=0o700)
    for name in (*MOUNT_POINTS, "ch"):
        (path / "skeleton" / name).mkdir(parents=True)
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (path / "skeleton" / "etc" / name).touch()
    for name in ("images", "layers", "trees"):
        (path / name).mkdir()
    return path


def add_layer(storage: Path, name: str, **files: str) -> None:
    tree = storage / "layers" / name / "tree"
    tree.mkdir(parents=True)
    for file, text in files.items():
        (tree / file).write_text(text)


def add_image(storage: Path, name: str, stack: ImageStack, environment: str = "A=image\n") -> Path:
    directory = storage / "images" / name_to_directory(canonical_name(name))
    (directory / "root" / "ch").mkdir(parents=True)
    (directory / "root" / "ch" / "environment").write_text(environment)
    (directory / "stack").write_bytes(pack_stack(stack))
    return directory


@pytest.fixture
def layered(storage: Path) -> Path:
    """A storage with an image "app" of two layers."""
    make_image(storage / "layers" / "base" / "tree")
    for name in MOUNT_POINTS:  # the skeleton has them
        tree = storage / "layers" / "base" / "tree" / name
        for path in tree.iterdir():
            path.unlink()
        tree.rmdir()
    (storage / "layers" / "base" / "tree" / "below").write_text("base\n")
    add_layer(storage, "top", below="top\n")
    add_image(storage, "app", ImageStack([b"top", b"base"]))
    return storage


def test_by_any_of_its_names(ch_run: ChRun, layered: Path) -> None:
    for name in ("app", "app:latest", "library/app", "docker.io/library/app:latest"):
        done = ch_run(name, "--", "cat", "/below", "/ch/environment")
        assert done.stdout == b"top\nA=image\n", done.stderr


def test_mount_points_come_from_the_skeleton(ch_run: ChRun, layered: Path) -> None:
    done = ch_run("app", "--", "sh", "-c", "cat /etc/passwd; cat /etc/hosts; ls -A /")
    assert done.stdout.startswith(b"root:x:0:0:")
    assert Path("/etc/hosts").read_bytes() in done.stdout
    assert done.stdout.split()[-9:] == b"below bin ch dev etc mnt proc sys tmp".split()


def test_it_is_read_only(ch_run: ChRun, layered: Path) -> None:
    done = ch_run("app", "--", "sh", "-c", "echo x >/below")
    assert b"Read-only file system" in done.stderr
    done = ch_run("-w", "app", "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: --write invalid when running by name",
        "hint: the layers of an image never change; -W lets COMMAND write to a copy",
    ]
    done = ch_run("-W", "app", "--", "sh", "-c", "echo x >>/below; cat /below")
    assert done.stdout == b"top\nx\n"
    assert ch_run("app", "--", "cat", "/below").stdout == b"top\n"


@pytest.mark.parametrize("option", ["--unset-env=NONE", "-W"])
def test_a_flattened_image(ch_run: ChRun, layered: Path, option: str) -> None:
    tree = make_image(layered / "trees" / "flat")
    (tree / "ch").mkdir()
    (tree / "below").write_text("flat\n")
    add_image(layered, "flat", ImageStack([b"top", b"base"], b"flat"))
    add_image(layered, "flat:2", ImageStack([b"top", b"base"], b"flat"), "A=other\n")
    for name, line in (("flat", b"A=image\n"), ("flat:2", b"A=other\n")):
        done = ch_run(option, name, "--", "cat", "/below", "/ch/environment")
        assert done.stdout == b"flat\n" + line, done.stderr
    done = ch_run("flat", "--", "sh", "-c", "echo x >/ch/environment")
    assert b"Read-only file system" in done.stderr


def test_a_name_beats_a_directory(ch_run: ChRun, layered: Path, tmp_path: Path) -> None:
    make_image(tmp_path / "app")
    assert ch_run("app", "--", "cat", "/below").stdout == b"top\n"
    assert ch_run("./app", "--", "ls", "/below").returncode == 1
    assert ch_run("-s", tmp_path, "app", "--", "ls", "/below").returncode == 1


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", "\u00e9", "." * 3])
def test_any_path_of_a_storage(ch_run: ChRun, layered: Path, name: str) -> None:
    layered.rename(layered.parent / name)
    for option in (f"--storage={name}", f"--storage={layered.parent}/{name}"):
        assert ch_run(option, "app", "--", "cat", "/below").stdout == b"top\n"
        assert ch_run(option, "-W", "app", "--", "cat", "/below").stdout == b"top\n"


def test_many_layers(ch_run: ChRun, layered: Path) -> None:
    names = [b"%020d" % number for number in range(126)]
    for name in names:
        add_layer(layered, name.decode(), **{f"file{int(name)}": "", "last": f"{int(name)}\n"})
    add_image(layered, "deep", ImageStack([*reversed(names), b"base"]))
    for options in ((), ("-W",)):
        done = ch_run(*options, "deep", "--", "sh", "-c", "cat /last; ls /file* | wc -l")
        assert done.stdout == b"125\n126\n", done.stderr


def test_path_calls(installed: Path, layered: Path, tmp_path: Path) -> None:
    """By name, accounts cost two look-ups, and a file that would be the image costs one.

    So do the layers that may be files, and the machine of the image's programs.  The
    configuration of the site and of the user cost two.  A program that is not in /usr/bin costs one
    more: the shell tells the machine then.
    """
    bare = trace(tmp_path / "log", installed.parent / VERSION, "-I", "-S", "-E", "-c", "pass")
    ours = trace(tmp_path / "log", *stub_of(installed), "-s", layered, "app", "--", "true")
    assert ours[0] - bare[0] <= 129 - 58 + CHILD_CALLS
    assert ours[1] - bare[1] <= 40 - 15 + CHILD_OPENS


# Default command


@pytest.mark.parametrize(
    ("entrypoint", "command"),
    [
        ([b"/bin/sh", b"-c"], [b"pwd; echo $A $B; exit 7"]),
        ([], [b"/bin/sh", b"-c", b"pwd; echo $A $B; exit 7"]),
        ([b"/bin/sh", b"-c", b"pwd; echo $A $B; exit 7"], []),
    ],
)
def test_default_command(
    ch_run: ChRun, layered: Path, entrypoint: list[bytes], command: list[bytes]
) -> None:
    stack = ImageStack([b"base"], b"", entrypoint, command, b"/bin")
    add_image(layered, "svc", stack, "A=image\nB=image\n")
    done = ch_run("svc", "--set-env=B=$A:line", env={"A": "host"})
    assert (done.returncode, done.stdout) == (7, b"/bin\nimage image:line\n")
    assert ch_run("--cd=/mnt", "svc").stdout.startswith(b"/mnt\n")
    # A command on the command line replaces all of the default.
    done = ch_run("svc", "--", "sh", "-c", "pwd; echo $A", env={"A": "host"})
    assert done.stdout == b"/\nhost\n"


def test_no_default_command(ch_run: ChRun, layered: Path) -> None:
    done = ch_run("app")
    assert done.returncode == 31
    assert messages(done) == [
        "error: IMAGE and/or COMMAND not specified",
        "hint: ch-run IMAGE -- COMMAND; without COMMAND, IMAGE must have an ENTRYPOINT or a CMD",
    ]


# Not an image


def test_not_found(ch_run: ChRun, layered: Path) -> None:
    for name in ("nope", "./nope", "/nope", "app:2", "\u00e9", "bin/sh/x"):
        done = ch_run(name, "--", "true")
        assert done.returncode == 31
        assert messages(done) == [
            f"error: image not found: {name}: no such name in storage, and no such file",
            f"hint: the storage is {layered}; see: ch-image list",
        ]
    done = ch_run("", "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: IMAGE is empty",
        "hint: is the variable that has its name set?",
    ]


def test_a_directory_that_is_not_the_image(ch_run: ChRun, layered: Path, tmp_path: Path) -> None:
    """A user meant the image of that name, which is not in storage."""
    (tmp_path / "src").mkdir()
    done = ch_run("src", "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: image not found: src: no such name in storage, and ./src is no root file system",
        f"hint: the storage is {layered}; see: ch-image list",
    ]
    for name in ("./src", "/etc"):
        (tmp_path / "src/etc").mkdir(exist_ok=True)
        done = ch_run(name, "--", "true")
        assert done.returncode == 31
        told = f"error: no root file system: {name}: it has none of dev, proc and sys"
        assert messages(done)[0] == told
        assert messages(done)[1].startswith("hint: IMAGE is a name in storage, or a directory")


@pytest.mark.parametrize(("name", "meant"), [("ap", "app"), ("x.y/ap:2", "x.y/app:2")])
def test_a_name_like_another(ch_run: ChRun, layered: Path, name: str, meant: str) -> None:
    (layered / "img").mkdir()
    for link in ("app+latest", "app", "docker.io%library%app+latest", "x.y%app+2"):
        (layered / "img" / link).symlink_to("/nowhere")
    done = ch_run(name, "--", "true")
    assert done.returncode == 31
    hint = f"hint: did you mean {meant}? the storage is {layered}; see: ch-image list"
    assert messages(done)[1] == hint


def test_the_path_of_an_images_own_command(ch_run: ChRun, layered: Path) -> None:
    """It is that of RUN, unless the image has one."""
    add_image(layered, "own", ImageStack([b"top", b"base"], b"", [], [b"/bin/env"]))
    variables = environment_file(layered, "own")
    for text, path in (("A=1\n", ENGINE_PATH), ("PATH=/own:/bin\n", "/own:/bin")):
        variables.write_text(text)
        found = ch_run("own").stdout.decode().splitlines()
        assert [line for line in found if line.startswith("PATH=")] == [f"PATH={path}"]
    variables.write_text("A=1\n")
    assert b"PATH=/x\n" in ch_run("--set-env=PATH=/x", "own").stdout


def test_a_command_that_the_image_would_find(ch_run: ChRun, layered: Path) -> None:
    """The hint names what the image says of its own command only."""
    add_image(layered, "own", ImageStack([b"top", b"base"], b"", [], [b"x"], b"/etc"))
    environment_file(layered, "own").write_text("PATH=/own:/bin\n")
    told = "a given command does not use the image's ENV and WORKDIR: ch-run --set-env -c /etc"
    assert told in messages(ch_run("own", "--", "nope"))[1]
    assert "WORKDIR: ch-run -c /etc uses" in messages(ch_run("--set-env", "own", "--", "./x"))[1]
    told = "the image's ENV: ch-run --set-env uses them"
    assert told in messages(ch_run("-c", "/", "own", "--", "nope"))[1]
    environment_file(layered, "own").write_text("")
    assert "the image's" not in "".join(messages(ch_run("-c", "/", "own", "--", "nope")))


def environment_file(storage: Path, name: str) -> Path:
    """Return the file with the variables of an image, in a directory that exists."""
    directory = storage / "images" / name_to_directory(canonical_name(name)) / "root/ch"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "environment"


def test_a_file(ch_run: ChRun, tmp_path: Path) -> None:
    (tmp_path / "image.sqfs").write_bytes(b"text")
    done = ch_run("image.sqfs", "--", "true")
    assert done.returncode == 31
    assert messages(done)[0] == "error: unknown image type: image.sqfs"


def test_forbidden(ch_run: ChRun) -> None:
    for call, path in (("stat", "/root/image"), ("open", "/root")):
        done = ch_run(path, "--", "true")
        assert done.returncode == 31
        assert messages(done) == [
            f"error: can't {call} {path}: Permission denied",
            "hint: /root is another user's and has mode 0700",
        ]


def test_a_directory_in_storage(ch_run: ChRun, layered: Path, tmp_path: Path) -> None:
    tree = make_image(layered / "trees" / "flat")
    (tmp_path / "st").symlink_to(layered)
    for path in (tree, "storage/trees/flat", "st/trees/flat", f"{layered}/skeleton/../trees/flat"):
        done = ch_run(path, "--", "true")
        assert done.returncode == 31
        assert messages(done) == [
            "error: can't run directory images from storage",
            "hint: run by name",
        ]
        assert ch_run("--unsafe", path, "--", "true").returncode == 0
    assert ch_run(make_image(tmp_path / "layers" / "mine"), "--", "true").returncode == 0


def test_a_damaged_image(ch_run: ChRun, layered: Path) -> None:
    directory = layered / "images" / name_to_directory(canonical_name("app"))
    (directory / "stack").write_bytes(b"garbage\0\0")
    done = ch_run("app", "--", "true")
    assert done.returncode == 31
    assert messages(done)[0].startswith("error: damaged image in storage")
    (directory / "stack").write_bytes(pack_stack(ImageStack([b"gone", b"base"])))
    done = ch_run("app", "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: image in storage is damaged: app: files of a layer are missing",
        "hint: import or build it again; a program that cleans /var/tmp may have deleted them",
    ]


# Races


def lose_race(
    monkeypatch: pytest.MonkeyPatch, storage: Path, meanwhile: Callable[[int], None], command: str
) -> tuple[int, bytes]:
    """Run "app" in a forked ``ch-run``; call ``meanwhile`` each time it has found the image."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        attempts = 0

        def find(reference: bytes, directory: Storage, *, arch: bytes, unsafe: bool) -> Image:
            nonlocal attempts
            image = find_image(reference, directory, arch=arch, unsafe=unsafe)
            attempts += 1
            meanwhile(attempts)
            return image

        arguments = [b"-s", bytes(storage), b"app", b"--", b"sh", b"-c", command.encode()]
        status = 99
        try:
            monkeypatch.setattr(image_choice, "find_image", find)
            os.dup2(write_end, 1)
            os.dup2(write_end, 2)
            status = main.run(arguments, Environment([b"PATH=/bin"]))
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        output = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output


def replace(storage: Path, layer: str) -> None:
    """Replace "app" by an image of another layer, and collect the layers of the old image."""
    add_layer(storage, layer, below=f"{layer}\n")
    old = storage / "images" / name_to_directory(canonical_name("app"))
    old.rename(storage / f"garbage-{layer}")
    for path in (storage / "layers").iterdir():
        if path.name not in ("base", layer):
            path.rename(storage / f"collected-{path.name}-{layer}")
    add_image(storage, "app", ImageStack([layer.encode(), b"base"]), f"A={layer}\n")


SHOW = "cat /below /ch/environment; ls -A /.. | wc -l; ls -A / | wc -l"


def test_an_image_that_is_replaced_is_looked_up_again(
    monkeypatch: pytest.MonkeyPatch, layered: Path
) -> None:
    def meanwhile(attempt: int) -> None:
        if attempt == 1:
            replace(layered, "second")

    status, output = lose_race(monkeypatch, layered, meanwhile, SHOW)
    assert (status, output) == (0, b"second\nA=second\n9\n9\n")


def test_a_race_that_is_lost_twice_is_an_error(
    monkeypatch: pytest.MonkeyPatch, layered: Path
) -> None:
    def meanwhile(attempt: int) -> None:
        replace(layered, f"number{attempt}")

    status, output = lose_race(monkeypatch, layered, meanwhile, SHOW)
    assert status == 31
    assert b"error: image in storage is damaged: app: files of a layer are missing\n" in output
    assert b"hint: import or build it again" in output


def test_two_images_are_never_mixed(monkeypatch: pytest.MonkeyPatch, layered: Path) -> None:
    """If its layers still exist, the old image runs, with nothing of the new image."""

    def meanwhile(attempt: int) -> None:
        old = layered / "images" / name_to_directory(canonical_name("app"))
        old.rename(layered / "garbage")
        add_layer(layered, "second", below="second\n")
        add_image(layered, "app", ImageStack([b"second", b"base"]), "A=second\n")

    status, output = lose_race(monkeypatch, layered, meanwhile, SHOW)
    assert (status, output) == (0, b"top\nA=image\n9\n9\n")


def test_renaming_an_image_aside_does_not_hurt_its_container(
    installed: Path, layered: Path
) -> None:
    script = "echo ready; read go; cat /below /ch/environment"
    with subprocess.Popen(
        [installed, "-s", layered, "app", "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        replace(layered, "second")
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.stdout.read() == b"top\nA=image\n"
