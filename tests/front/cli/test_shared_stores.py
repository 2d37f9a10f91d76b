"""Shared stores: publish, look for images, run them, build on them, and whom to believe."""

import ctypes
import hashlib
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from sundog.base.record.shared_image import unpack_shared
from sundog.image.oci.platform import Platform
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher import main
from tests.conftest import (
    Completed,
    RootHelper,
    Runner,
    children_of,
    command,
    copy_storage,
    run_program,
    runner,
    until,
)
from tests.image.registry.servers import InProcessRegistry

DOCKERFILE = """\
FROM bb
RUN touch /made && chown 5:6 /made && chmod 4755 /made && mkdir /empty
ENV GREETING=hello
WORKDIR /mnt
CMD ["sh", "-c", "echo $GREETING from $PWD"]
"""


@pytest.fixture(scope="module")
def own(
    tmp_path_factory: pytest.TempPathFactory, storage_with_busybox: Callable[[str], Path]
) -> Path:
    """Return the storage of the publisher, with the image ``app``; tests only read it."""
    place = tmp_path_factory.mktemp("publisher")
    copy_storage(storage_with_busybox(""), place / "storage")
    (place / "Dockerfile").write_text(DOCKERFILE)
    runner("ch-image", place / "storage")("build", "--force=notify", "-t", "app", place)
    return place / "storage"


@pytest.fixture(scope="module")
def published(own: Path) -> Generator[Path]:
    """Return a shared store with the image ``app``, in which nobody can write any more."""
    store = own.parent / "published"
    umask = os.umask(0o077)
    try:
        runner("ch-image", own)("publish", "app", store)
    finally:
        os.umask(umask)
    directories = [store, *(path for path in store.rglob("*") if path.is_dir())]
    files = [path for path in store.rglob("*") if not path.is_symlink()]
    modes = {path: path.stat().st_mode & 0o7777 for path in files}
    assert {path: 0o755 if path.is_dir() else 0o444 for path in files} == modes
    for path in directories:
        path.chmod(0o555)
    before = statuses(store)
    yield store
    assert statuses(store) == before, "a reader has changed something"
    for path in directories:
        path.chmod(0o755)


def statuses(store: Path) -> dict[Path, tuple[int, ...]]:
    """Return what a write, a lock file or a renewed time would change."""
    found = {path: path.lstat() for path in (store, *store.rglob("*"))}
    return {
        path: (
            status.st_mode,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        for path, status in found.items()
    }


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """Return a copy of the store, for a test that changes it."""
    store = tmp_path / "shared"
    shutil.copytree(published, store, symlinks=True)
    for path in (store, *store.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    return store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a directory of settings."""
    path = tmp_path / "home" / "sundog"
    path.mkdir(parents=True)
    for directory in (path, path.parent):
        directory.chmod(0o755)
    return path


def configured(home: Path, text: str) -> dict[str, str]:
    """Return the environment in which a user has this configuration."""
    (home / "sundog.toml").write_text(text)
    (home / "sundog.toml").chmod(0o600)
    return {"XDG_CONFIG_HOME": str(home.parent)}


# Running


def test_it_runs_by_name(run_ch_run: Runner, published: Path, home: Path, tmp_path: Path) -> None:
    ways = [
        ([], {"CH_IMAGE_STORES": f"/nonexistent:{published}"}),
        (["--image-store", str(published)], {}),
        ([], configured(home, f"[storage]\nimage_stores = ['{published}']")),
    ]
    for options, variables in ways:
        done = run_ch_run(*options, "app", env=variables, cwd=tmp_path)
        assert done.stdout == "hello from /mnt\n"
    relative = run_ch_run("--image-store=published", "app", cwd=published.parent)
    assert relative.stdout == "hello from /mnt\n"


def test_all_ways_to_run_work(run_ch_run: Runner, published: Path, tmp_path: Path) -> None:
    shared = {"CH_IMAGE_STORES": str(published)}
    written = "echo x >/etc/new; echo y >/etc/hostname; cat /etc/new /etc/hostname"
    for options, script, expected in [
        (["-W", "-u0"], written, "x\ny\n"),
        (["--notify"], "stat -c %u:%g:%a /made", "5:6:4755\n"),
        (["--notify", "-W"], "chown 7 /made; stat -c %u /made", "7\n"),
        (["-b", f"{tmp_path}:/mnt"], "ls -d /mnt/storage 2>&1; ls /empty", ""),
        (["--join", "--join-tag=shared-store", "--join-ct=1"], "echo joined", "joined\n"),
        (["--seccomp"], "chown 9 /tmp && echo faked", "faked\n"),
    ]:
        done = run_ch_run(*options, "app", "--", "sh", "-c", script, env=shared, check=False)
        assert done.stdout.endswith(expected), (options, done)
        assert done.returncode in (0, 1) if "-b" in options else done.returncode == 0, done


def test_both_starts_are_equal(
    run_ch_image: Runner, run_ch_run: Runner, published: Path, home: Path, tmp_path: Path
) -> None:
    run_ch_image("list")  # the user's accounts are kept in a storage
    (tmp_path / "file").touch()
    shown = "ls -l /made; ls /not/there; find / -xdev -type d | wc -l; id"
    written = configured(home, f"[storage]\nimage_stores = ['{published}']")
    (home / "sundog.toml").rename(home / "aside")
    # With a warning, the compiled start hands over.
    ways = [
        ([f"--image-store={published}"], {}, "compiled"),
        ([], {"CH_IMAGE_STORES": str(published)}, "compiled"),
        ([], {"CH_IMAGE_STORES": f"/nonexistent:{published}"}, ""),
        ([], written, ""),  # compiled as soon as there is a record of the files
    ]
    for options, variables, start in ways:
        if variables is written:
            (home / "aside").rename(home / "sundog.toml")
        for words in (
            ["app"],
            ["-W", "-u0", "-g0", "app", "--", "sh", "-c", "echo x >/new; cat /new; pwd; id"],
            ["-b", f"{tmp_path}:/not/there", "--seccomp", "app", "--", "sh", "-c", shown],
        ):
            python, compiled = (
                run_ch_run(
                    *options, *words, env=variables | {"TMPDIR": "/tmp", "SUNDOG_START": each}
                )
                for each in ("python", start)
            )
            assert compiled.stdout == python.stdout
            lines = [
                [text.partition("]: ")[2] for text in done.stderr.splitlines()]
                for done in (python, compiled)
            ]
            assert lines[0] == lines[1]
            assert bool(lines[0]) is ("nonexistent" in str(variables))


IN_OPEN, IN_CLOSE_NOWRITE = 0x20, 0x10
EVENT = struct.Struct("iIII")  # inotify(7)


def opened(store: Path, start: Callable[[], object]) -> list[str]:
    """Return the names of the files in ``store`` that anybody opens while ``start`` runs.

    An open with O_PATH is none: the file system does not learn of it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    for directory in (store, *(path for path in store.rglob("*") if path.is_dir())):
        # Equal events that follow each other are one; an end is between two opens.
        assert libc.inotify_add_watch(fd, bytes(directory), IN_OPEN | IN_CLOSE_NOWRITE) >= 0
    start()
    names = []
    with open(fd, "rb") as file:
        data = file.read() or b""
    while data:
        _, mask, _, length = EVENT.unpack_from(data)
        name, data = data[EVENT.size : EVENT.size + length], data[EVENT.size + length :]
        if mask & IN_OPEN and length:  # else it is the directory that is watched
            names.append(name.rstrip(b"\0").decode())
    return names


@pytest.mark.parametrize("start", ["python", "compiled"])
def test_a_start_opens_few_files(
    run_ch_image: Runner, run_ch_run: Runner, published: Path, start: str
) -> None:
    """The mark, the image, the index of each layer, and the one file with the program."""
    variables = {"CH_IMAGE_STORES": str(published), "TMPDIR": "/tmp"}
    run_ch_image("list")
    run_ch_run("app", "--", "true", env=variables)
    (image,) = (published / "images").iterdir()
    layers, _ = unpack_shared(image.read_bytes(), "")
    variables["SUNDOG_START"] = start
    found = opened(published, lambda: run_ch_run("app", "--", "true", env=variables))
    assert len(found) <= len(layers.layers) + 3, found
    assert found.count("index") == len(layers.layers)


def test_a_reader_takes_no_lock_and_opens_nothing_for_writing(
    published: Path, run_ch_image: Runner, storage: Path, tmp_path: Path
) -> None:
    run_ch_image("list")  # make the reader's own storage
    env = {"CH_IMAGE_STORES": str(published), "CH_IMAGE_STORAGE": str(storage)}
    log = tmp_path / "log"
    for name, words in (
        ("ch-run", ["app", "--", "cat", "/made"]),
        ("ch-image", ["list", "-l"]),
        ("ch-image", ["inspect", "app"]),
        ("ch-image", ["save", "-o", str(tmp_path / "saved"), "app"]),
    ):
        calls = "trace=flock,fcntl,openat,openat2,open,mkdir,mkdirat,rename,renameat2,unlinkat"
        traced = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", calls, "-o", str(log)]
        run_program([*traced, *command(name), *words], env=env)
        lines = [line for line in log.read_text().splitlines() if str(published) in line]
        assert len(lines) > 3
        for line in lines:
            assert not re.search(r"flock|F_(?:OFD_)?SETLK|O_WRONLY|O_RDWR|O_CREAT", line), line
            assert re.search(r" (?:open|openat|openat2|fcntl)\(", line), line


def test_own_images_and_paths_come_first(
    run_ch_image: Runner, run_ch_run: Runner, bb: str, published: Path, tmp_path: Path
) -> None:
    """Nothing that runs without shared stores is another image with them."""
    shared = {"CH_IMAGE_STORES": str(published)}
    (tmp_path / "app").mkdir()
    here = run_ch_run("app", "--", "true", env=shared, cwd=tmp_path, check=False)
    assert "no such name in storage, and ./app is no root file system" in here.stderr
    run_ch_image("tag", bb, "app")
    assert not run_ch_run("app", "--", "ls", "/", env=shared).stdout.count("made")
    run_ch_image("delete", "app")
    assert run_ch_run("app", "--", "ls", "/", env=shared).stdout.count("made")


def test_the_first_store_that_has_a_name(
    *, own: Path, published: Path, run_ch_image: Runner, run_ch_run: Runner, home: Path
) -> None:
    other = home / "other"
    for words in (["--as=app", "bb"], ["--as=more", "bb"]):
        runner("ch-image", own)("publish", *words, other)
    run_ch_image("list")  # makes a storage, so that a start can be compiled
    for first, second, is_built in ((published, other, True), (other, published, False)):
        ways = [
            ([f"--image-store={first}", f"--image-store={second}"], {}),
            ([f"--image-store={first}"], {"CH_IMAGE_STORES": str(second)}),
            ([], {"CH_IMAGE_STORES": f"{first}:{second}"}),
            ([], configured(home, f"[storage]\nimage_stores = ['{first}', '{second}']")),
        ]
        for options, variables in ways:
            for start in ("python", ""):
                env = variables | {"SUNDOG_START": start}
                shown = run_ch_run(*options, "app", "--", "ls", "/", env=env).stdout
                assert ("made" in shown.split()) is is_built, (options, variables, start)
                assert "made" not in run_ch_run(*options, "more", "--", "ls", "/", env=env).stdout
            listed = run_ch_image(*options, "list", "--format=json", env=variables).stdout
            found = {each["name"]: each["store"] for each in json.loads(listed)}
            assert found == {"app": str(first), "more": str(other)}


def test_a_name_that_is_nowhere(run_ch_run: Runner, published: Path) -> None:
    done = run_ch_run("other", "--", "true", env={"CH_IMAGE_STORES": str(published)}, check=False)
    assert done.returncode == 31
    assert "image not found: other" in done.stderr


# Verifying


def test_a_verified_start_reads_once(
    run_ch_image: Runner, run_ch_run: Runner, copied: Path, home: Path, storage: Path
) -> None:
    """Later starts open no file for it, whatever says that they verify."""
    run_ch_image("list")  # makes the storage that remembers
    variables = {"CH_IMAGE_STORES": str(copied), "SUNDOG_START": "python"}
    ways = [
        (["--verify"], {}),
        ([], {"CH_RUN_VERIFY": "yes"}),
        ([], configured(home, "[storage]\nverify = true")),
    ]

    def reads(options: list[str], more: dict[str, str]) -> int:
        env = variables | more
        return opened(copied, lambda: run_ch_run(*options, "app", "--", "true", env=env)).count(
            "digests"
        )

    assert reads([], {}) == 0
    layers = len([*(copied / "layers").iterdir()])
    for options, more in ways:
        assert reads(options, more) == layers
        assert reads(options, more) == 0
        assert len(os.listdir(storage / "verified")) == layers
        shutil.rmtree(storage / "verified")
    assert reads([], ways[2][1] | {"CH_RUN_VERIFY": "no"}) == 0
    assert not (storage / "verified").exists()


def _flip(store: Path, name: str = "file") -> Path:
    """Change one byte of a layer, and keep all that a look at it shows but the time of change."""
    part = max((store / "layers").glob(f"*/{name}"), key=lambda path: path.stat().st_size)
    before = part.stat()
    part.chmod(0o644)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    part.chmod(0o444)
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    return part


@pytest.mark.parametrize("start", ["python", ""])
@pytest.mark.parametrize("name", ["file", "owners"])
def test_a_changed_layer_does_not_start(
    run_ch_image: Runner, run_ch_run: Runner, copied: Path, start: str, name: str
) -> None:
    run_ch_image("list")
    variables = {"CH_IMAGE_STORES": str(copied), "CH_RUN_VERIFY": "1", "SUNDOG_START": start}
    assert run_ch_run("app", env=variables).stdout == "hello from /mnt\n"
    part = _flip(copied, name)
    done = run_ch_run("app", env=variables, check=False)
    assert done.returncode == 31
    assert f"can't verify {part.parent}: {name} has another digest" in done.stderr
    assert done.stderr.count("error:") == 1
    # Its owner can't make up for it with other digests: the first ones are remembered.
    digests = part.with_name("digests")
    digests.chmod(0o644)
    wrong = hashlib.sha256(part.read_bytes()).hexdigest()
    lines = [line.split() for line in digests.read_text().splitlines()]
    digests.write_text("".join(f"{wrong if word == name else old} {word}\n" for old, word in lines))
    digests.chmod(0o444)
    again = run_ch_run("app", env=variables, check=False)
    assert "has another digest" in again.stderr


def test_other_mistakes_of_verifying(
    run_ch_image: Runner, run_ch_run: Runner, copied: Path, storage: Path, tmp_path: Path
) -> None:
    variables = {"CH_IMAGE_STORES": str(copied)}
    done = run_ch_run("--verify", "app", env=variables)
    assert "no storage directory remembers" in done.stderr  # and there is none
    wrong = run_ch_run("app", env=variables | {"CH_RUN_VERIFY": "often"}, check=False)
    assert "$CH_RUN_VERIFY: often" in wrong.stderr
    assert wrong.returncode == 31
    bundle = tmp_path / "bundle"
    run_ch_image("--image-store", copied, "oci-bundle", "app", bundle)
    part = _flip(copied)
    with_digests = run_ch_image("adopt", "app", env=variables, check=False)
    assert f"can't copy {part.parent}: file has another digest" in with_digests.stderr
    assert os.listdir(storage / "layers") == []
    assert "another digest" in oci_run(bundle, tmp_path, check=False, CH_RUN_VERIFY="yes").stderr
    (part.parent / "digests").unlink()
    missing = run_ch_run("--verify", "app", env=variables, check=False)
    assert f"can't verify {part.parent}: digests is missing" in missing.stderr


@pytest.mark.parametrize("words", [["gc"], ["build-cache", "--gc"]])
def test_gc_forgets_what_was_verified_of_files_that_are_gone_or_changed(
    run_ch_image: Runner, run_ch_run: Runner, copied: Path, storage: Path, words: list[str]
) -> None:
    run_ch_image("list")
    run_ch_run("--verify", "app", env={"CH_IMAGE_STORES": str(copied)})
    records = storage / "verified"
    before = {*os.listdir(records)}
    assert len(before) == len([*(copied / "layers").iterdir()]) > 2
    old, fresh = records / ".sundog-old", records / ".sundog-fresh"
    for path in (old, fresh, records / "damaged"):
        path.write_text("0g\n")
    os.utime(old, (0, 0))
    assert "removed 2 old records of --verify" in run_ch_image(*words).stderr
    assert {*os.listdir(records)} == {*before, fresh.name}
    fresh.unlink()
    changed, gone = sorted((copied / "layers").iterdir())[:2]
    (changed / "owners").chmod(0o400)
    shutil.rmtree(gone)
    if words == ["gc"]:
        run_ch_image(*words, "--dry-run")
        assert {*os.listdir(records)} == before
    run_ch_image(*words)
    left = {name for name in before if name.rpartition(".")[2] not in (changed.name, gone.name)}
    assert {*os.listdir(records)} == left
    copied.rename(copied.with_name("elsewhere"))
    assert "old records" in run_ch_image(*words).stderr
    assert os.listdir(records) == []
    assert "old records" not in run_ch_image(*words).stderr


# Trust


def refused(done: Completed, text: str) -> None:
    """Check that an image is not found, and that one line tells why the store does not count."""
    assert done.returncode == 31, done
    shown = [line for line in done.stderr.splitlines() if text in line]
    assert len(set(shown)) == 1, done.stderr  # ch-run prints warnings again at the end


def _open_store(store: Path) -> None:
    store.chmod(0o775)


def _open_directory(store: Path) -> None:
    (store / "images").chmod(0o777)


def _open_image(store: Path) -> None:
    next((store / "images").iterdir()).chmod(0o646)


def _open_layer(store: Path) -> None:
    next((store / "layers").iterdir()).chmod(0o775)


def _open_part(store: Path) -> None:
    next((store / "layers").glob("*/index")).chmod(0o464)


def _relink(store: Path) -> None:
    tree = next((store / "layers").glob("*/tree"))
    tree.unlink()
    tree.symlink_to("/etc")


def _unmark(store: Path) -> None:
    (store / "sundog-store").unlink()


def _other_version(store: Path) -> None:
    (store / "sundog-store").unlink()
    (store / "sundog-store").write_text("sundog shared store 2\n")
    (store / "sundog-store").chmod(0o444)


def _no_layer(store: Path) -> None:
    shutil.rmtree(next((store / "layers").iterdir()))


def _no_part(store: Path) -> None:
    next((store / "layers").glob("*/owners")).unlink()


def _fifo(store: Path) -> None:
    part = next((store / "layers").glob("*/file"))
    part.unlink()
    os.mkfifo(part, 0o444)


def _cut(store: Path) -> None:
    image = next((store / "images").iterdir())
    image.chmod(0o644)
    image.write_bytes(image.read_bytes()[:30])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_open_store, "shared is writable to others than its owner (mode 0775)"),
        (_open_directory, "shared/images is writable to others than its owner (mode 0777)"),
        (_open_image, "is writable to others than its owner (mode 0646)"),
        (_open_layer, "is writable to others than its owner (mode 0775)"),
        (_open_part, "is writable to others than its owner (mode 0464)"),
        (_relink, "damaged image in a shared store"),
        (_no_part, "damaged image in a shared store"),
        (_unmark, "it is no shared store"),
        (_other_version, "it has another version"),
        (_no_layer, "damaged image in a shared store"),
        (_fifo, "is neither a directory nor a file"),
        (_cut, "damaged image in a shared store"),
    ],
)
def test_what_others_can_change_does_not_run(
    run_ch_run: Runner, copied: Path, change: Callable[[Path], None], text: str
) -> None:
    change(copied)
    done = run_ch_run("app", "--", "true", env={"CH_IMAGE_STORES": str(copied)}, check=False)
    refused(done, text)
    if change is _no_layer:
        assert "hint: its owner can publish it again; your own: ch-image pull " in done.stderr
        assert "docker.io/library/app:latest" in done.stderr
    named = run_ch_run("--image-store", f"{copied}/", "app", "--", "true", check=False)
    refused(named, text)
    assert "error:" in next(line for line in named.stderr.splitlines() if text in line)


def test_links_and_swapped_directories(run_ch_run: Runner, copied: Path, tmp_path: Path) -> None:
    """The user's own links lead to stores; a directory that others can swap does not."""
    (tmp_path / "link").symlink_to(copied)
    done = run_ch_run("app", env={"CH_IMAGE_STORES": str(tmp_path / "link")})
    assert done.stdout == "hello from /mnt\n"
    above = tmp_path / "above"
    above.mkdir()
    copied.rename(above / "shared")
    for mode, runs in ((0o777, False), (0o775, False), (0o1777, True), (0o755, True)):
        above.chmod(mode)
        variables = {"CH_IMAGE_STORES": str(above / "shared")}
        done = run_ch_run("app", "--", "true", env=variables, check=False)
        assert (done.returncode == 0) is runs, (oct(mode), done.stderr)


def test_a_store_that_is_swapped_in_between(
    monkeypatch: pytest.MonkeyPatch, copied: Path, published: Path, tmp_path: Path
) -> None:
    """It was checked before the namespaces, in which nobody sees whose it is."""
    link = tmp_path / "link"
    link.symlink_to(copied)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:

        def swap(uid: int, gid: int) -> None:
            link.unlink()
            link.symlink_to(published)
            enter_namespaces(uid, gid)

        monkeypatch.setattr(main, "enter_namespaces", swap)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        words = [b"--image-store", bytes(link), b"app", b"--", b"true"]
        variables = [b"PATH=/bin", b"CH_IMAGE_STORAGE=%b/none" % bytes(tmp_path)]
        status = 99
        try:
            status = main.run(words, Environment(variables))
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        output = stream.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 31
    assert f"error: storage directory {link} was replaced by another at this moment\n" in output


@pytest.mark.slow  # no Python is in it
def test_a_store_that_is_swapped_in_a_compiled_start(
    *, run_ch_image: Runner, copied: Path, published: Path, storage: Path, tmp_path: Path
) -> None:
    run_ch_image("list")
    link, log = tmp_path / "link", tmp_path / "log"
    link.symlink_to(copied)
    words = [*command("ch-run"), "--image-store", str(link), "app", "--", "true"]
    env = {**os.environ, "CH_IMAGE_STORAGE": str(storage), "TMPDIR": "/tmp"}
    subprocess.run(words, env=env, check=True)  # it notes the accounts
    # The processes of a start: the first look, the server, which checks the store, the container.
    stop = ["strace", "-o", str(log), "-e", "inject=clone:signal=SIGSTOP:when=3"]
    with subprocess.Popen(
        [*stop, *words], env=env | {"SUNDOG_START": "compiled"}, stderr=subprocess.PIPE
    ) as process:
        try:
            until(lambda: log.exists() and b"stopped by SIGSTOP" in log.read_bytes())
            link.unlink()
            link.symlink_to(published)
            (traced,) = children_of(process.pid)
            os.kill(traced, signal.SIGCONT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 31
    assert told.endswith(b"]: error: declined: a shared store that was replaced\n")


def test_another_user_reads_it_if_the_owner_is_trusted(
    root_helper: RootHelper, copied: Path
) -> None:
    """The store is this user's: another trusts it by configuration, and by no variable."""
    script = (
        'cd /; D=$(mktemp -d); trap "rm -rf $D" EXIT; export CH_IMAGE_STORAGE=$D/s HOME=$D\n'
        "export CH_IMAGE_STORES=$1\n"
        "$0/ch-run app; echo rc $?\n"
        "mkdir -p $D/.config/sundog\n"
        'printf "[storage]\\ntrusted_owners = [\\"$2\\"]\\n" >$D/.config/sundog/sundog.toml\n'
        "$0/ch-run app; echo rc $?\n"
        '$0/ch-run -W -u0 app -- sh -c "echo x >/etc/hostname; cat /etc/hostname"\n'
        "$0/ch-run --notify app -- stat -c %u:%g:%a /made\n"
        "$0/ch-image list -l; $0/ch-image delete app; echo rc $?\n"
        "chmod 666 $D/.config/sundog/sundog.toml; $0/ch-run app; echo rc $?\n"
    )
    programs = str(Path(command("ch-run")[0]).parent)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="sundog-test-shared.") as place:
        os.chmod(place, 0o755)
        store = shutil.move(copied, place)
        words = ["exec 2>&1; umask 022\n" + script, programs, store, str(os.getuid())]
        done = root_helper.as_second_user(["sh", "-c", *words])
    text = done.stdout.decode()
    parts = text.split("rc ")
    assert "belongs to" in parts[0], text
    assert "trusted_owners" in parts[0]
    assert parts[1].startswith("31\nhello from /mnt\n"), text
    assert parts[2].startswith("0\nx\n5:6:4755\n"), text
    assert store in parts[2], text
    assert "no matching image, can't delete: app" in parts[2]
    assert "who can change it" in parts[2]
    assert "is not believed" in parts[3]
    assert parts[4] == "31\n", text


@pytest.mark.parametrize("words", [["run", "--rm"], ["run", "--name=x"], ["run", "--pull=never"]])
def test_sundog_runs_it(storage: Path, published: Path, words: list[str]) -> None:
    sundog, shared = runner("sundog", storage), {"CH_IMAGE_STORES": str(published)}
    assert sundog(*words, "app", env=shared).stdout == "hello from /mnt\n"
    script = ["app", "sh", "-c", "stat -c %u:%a /made; echo x >/new; cat /new"]
    name = [word.replace("=x", "=y") for word in words]
    assert sundog(*name, *script, env=shared).stdout == "5:4755\nx\n"
    assert not (storage / "images").exists()


def test_other_programs_run_it(storage: Path, published: Path, tmp_path: Path) -> None:
    variables = {
        "CH_IMAGE_STORES": str(published),
        "CH_IMAGE_STORAGE": str(storage),
        "SUNDOG_PYXIS_DIR": str(tmp_path / "pyxis"),
    }
    script = (
        "import os, sundog; open_before = os.listdir('/proc/self/fd')\n"
        "print(sundog.run('app', stdout=-1, pull='never').stdout)\n"
        "assert os.listdir('/proc/self/fd') == open_before"
    )
    done = run_program([sys.executable, "-c", script], env=variables)
    assert done.stdout == "b'hello from /mnt\\n'\n"
    path = runner("sundog-pyxis-importer", storage)("get", "app", env=variables).stdout.strip()
    made = runner("ch-run", storage)("--notify", path, "--", "stat", "-c", "%u:%a", "/made")
    assert made.stdout == "5:4755\n"


def test_a_container_that_keeps_its_changes_needs_the_store_no_more(
    storage: Path, copied: Path, tmp_path: Path
) -> None:
    """Its image gets no name; ``cp``, ``diff`` and ``commit`` work as for an own image."""
    (tmp_path / "run").mkdir(mode=0o700)
    variables = {"CH_IMAGE_STORES": str(copied), "XDG_RUNTIME_DIR": str(tmp_path / "run")}

    def sundog(*words: str | Path, check: bool = True) -> Completed:
        return runner("sundog", storage)(*words, env=variables, check=check)

    made = sundog("create", "--name=c", "app", "sh", "-c", "echo x >>/new; stat -c %u:%g:%a /made")
    assert made.stdout == "c\n"
    assert f"copying app from the shared store {copied}" in made.stderr
    assert sundog("images", "-q", "--filter=readonly=false").stdout == ""
    copied.rename(tmp_path / "gone")
    for content in ("x\n", "x\nx\n"):
        assert sundog("start", "-a", "c").stdout == "5:6:4755\n"
        sundog("cp", "c:/new", tmp_path / "new")
        assert (tmp_path / "new").read_text() == content
    runner("ch-image", storage)("gc")
    assert sundog("diff", "c").stdout == "A /new\n"
    sundog("commit", "c", "mine")
    sundog("rm", "c")
    done = sundog("run", "--rm", "mine", "cat", "/new")
    assert done.stdout == "x\nx\n"
    assert sundog("rmi", "mine").returncode == 0
    assert os.listdir(storage / "layers") == []
    assert "can't use the shared store" in sundog("create", "app", check=False).stderr


def test_a_container_of_the_store_keeps_no_changes(
    storage: Path, published: Path, tmp_path: Path
) -> None:
    """It runs in place, nothing is copied, and ``cp`` reaches it while it runs."""
    (tmp_path / "run").mkdir(mode=0o700)
    variables = {"CH_IMAGE_STORES": str(published), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    sundog = runner("sundog", storage)
    sundog("run", "-d", "--name=c", "app", "sleep", "1d", env=variables)
    try:
        sundog("cp", "c:/ch/environment", tmp_path / "environment", env=variables)
        assert "GREETING=hello" in (tmp_path / "environment").read_text()
    finally:
        sundog("rm", "-f", "c", env=variables)
    assert sundog("ps", "-aq", env=variables).stdout == ""
    assert not (storage / "images").exists()
    assert sundog("image", "exists", "app", env=variables).returncode == 0
    assert sundog("image", "exists", "other", env=variables, check=False).returncode == 1


def test_the_image_of_a_container_has_its_id(
    storage: Path, copied: Path, bb: str, tmp_path: Path
) -> None:
    """As for an own image, as long as the store has it."""
    (tmp_path / "run").mkdir(mode=0o700)
    variables = {"CH_IMAGE_STORES": str(copied), "XDG_RUNTIME_DIR": str(tmp_path / "run")}

    def sundog(*words: str, check: bool = True) -> str:
        return runner("sundog", storage)(*words, env=variables, check=check).stdout

    def ids() -> list[str]:
        names = ("shared", "kept", "own")
        found = [json.loads(sundog("inspect", name))[0]["Image"] for name in names]
        rows = sundog("ps", "-a", "--no-trunc", "--format={{.Names}} {{.ImageID}}").splitlines()
        assert {row.partition(" ")[0]: row.partition(" ")[2] for row in rows} == dict(
            zip(names, found, strict=True)
        )
        return found

    form = "{{.Repository}} {{.ID}}"
    rows = sundog("images", "--no-trunc", f"--format={form}").splitlines()
    of = dict(row.split() for row in rows)
    sundog("run", "-d", "--name=shared", "app", "sleep", "1d")
    try:
        for name, image in (("kept", "app:latest"), ("own", bb)):
            sundog("create", f"--name={name}", image, "true")
        assert ids() == [of["app"], of["app"], of[bb]]
        assert sundog("ps", "--format={{.ImageID}}") == f"{of['app'][:12]}\n"
        (file,) = copied.glob("images/*")
        whole = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(whole[:10])
        assert ids() == ["", "", of[bb]]
        file.write_bytes(whole)
        copied.rename(tmp_path / "gone")
        assert ids() == ["", "", of[bb]]
    finally:
        sundog("rm", "-f", "shared", "kept", "own")


# ch-run-oci


def oci_run(bundle: Path, tmp_path: Path, *, check: bool = True, **variables: str) -> Completed:
    """Run a bundle; no variable and no option names the store."""
    words: list[str | Path] = [*command("ch-run-oci"), "--root", tmp_path / "oci"]
    return run_program(
        [*words, "run", "-b", bundle, "c"], check=check, env={"CH_IMAGE_STORES": "", **variables}
    )


def test_a_bundle_runs_in_place(
    sharing: Callable[..., Completed], storage: Path, published: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    sharing("oci-bundle", "app", bundle)
    config = json.loads((bundle / "config.json").read_text())
    assert config["annotations"]["org.sundog.store"] == str(published)
    assert oci_run(bundle, tmp_path).stdout == "hello from /mnt\n"
    config["root"]["readonly"] = False
    config["process"]["args"] = ["sh", "-c", "echo new >/empty/x; cat /empty/x; ls -d /made"]
    (bundle / "config.json").write_text(json.dumps(config))
    assert oci_run(bundle, tmp_path).stdout == "new\n/made\n"
    assert not [*(storage / "layers").iterdir()]
    other = sharing("oci-bundle", "--arch=s390x", "app", tmp_path / "other", check=False)
    assert "not in storage: app" in other.stderr


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_open_image, "is writable to others than its owner (mode 0646)"),
        (_no_layer, "damaged image in a shared store"),
        (_unmark, "it is no shared store"),
        (lambda store: next((store / "images").iterdir()).unlink(), "no image docker.io/library/"),
    ],
)
def test_a_bundle_of_a_store_that_does_not_count(
    run_ch_image: Runner, copied: Path, tmp_path: Path, change: Callable[[Path], None], text: str
) -> None:
    bundle = tmp_path / "bundle"
    run_ch_image("--image-store", copied, "oci-bundle", "app", bundle)
    assert oci_run(bundle, tmp_path).stdout == "hello from /mnt\n"
    change(copied)
    done = oci_run(bundle, tmp_path, check=False)
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


# ch-image


@pytest.fixture
def sharing(run_ch_image: Runner, published: Path) -> Callable[..., Completed]:
    """Return a function that runs ch-image with the store."""

    def run(*arguments: str | os.PathLike[str], check: bool = True) -> Completed:
        return run_ch_image(*arguments, check=check, env={"CH_IMAGE_STORES": str(published)})

    return run


def test_list(sharing: Callable[..., Completed], bb: str, published: Path) -> None:
    assert sharing("list").stdout == f"app\n{bb}\n"
    rows = [line.split(" | ") for line in sharing("list", "-l").stdout.splitlines()]
    assert [(row[0].strip(), row[-1]) for row in rows] == [("app", str(published)), (bb, "-")]
    described = json.loads(sharing("list", "--format=json", "a*").stdout)
    assert [(each["name"], each["store"]) for each in described] == [("app", str(published))]
    details = sharing("list", "app").stdout
    assert "in local storage:    no" in details
    assert str(published) in details
    assert sharing("list", "x*", check=False).returncode == 1
    # Without a shared image, the table has no column for it.
    (alone,) = sharing("list", "-l", bb).stdout.splitlines()
    assert len(alone.split(" | ")) == len(rows[0]) - 1


def test_inspect_and_history(sharing: Callable[..., Completed], own: Path, published: Path) -> None:
    ours = runner("ch-image", own)
    (shared,), (stored,) = (
        json.loads(each.stdout) for each in (sharing("inspect", "app"), ours("inspect", "app"))
    )
    assert (shared.pop("store"), stored.pop("store")) == (str(published), None)
    # The ID depends on those of the layers, which all shared stores have in common.
    assert len({shared.pop("id"), stored.pop("id")}) == 2
    assert shared == stored
    histories = [
        json.loads(each.stdout)
        for each in (
            sharing("history", "--format=json", "app"),
            ours("history", "--format=json", "app"),
        )
    ]
    for entry in histories[1]:
        entry["layer"] = None
    assert histories[0] == histories[1]
    assert sharing("history", "other", check=False).returncode == 1
    for words in (["history"], ["inspect"]):
        other = sharing(*words, "--arch=s390x", "app", check=False)
        assert (other.returncode, other.stdout) == (1, "")


def test_delete_and_tag_say_whose_it_is(sharing: Callable[..., Completed], published: Path) -> None:
    for words in (["delete", "app"], ["tag", "app", "own"], ["pack", "app"]):
        done = sharing(*words, check=False)
        assert done.returncode == 1
        assert f"it is in the shared store {published} of" in done.stderr
    assert sharing("list").stdout == "app\n"


def test_adopt_makes_it_the_users_own(
    sharing: Callable[..., Completed], run_ch_image: Runner, run_ch_run: Runner
) -> None:
    assert sharing("adopt", "app").stderr.splitlines()[-1] == "adopted app"
    assert run_ch_run("app").stdout == "hello from /mnt\n"  # without the store
    again = sharing("adopt", "app", check=False)
    assert (again.returncode, "already in storage: app" in again.stderr) == (1, True)
    assert "not in a shared store: other" in sharing("adopt", "other", check=False).stderr
    assert run_ch_image("list").stdout == "app\n"
    run_ch_image("delete", "app")
    assert run_ch_image("list").stdout == ""


def test_builds_start_from_it(
    sharing: Callable[..., Completed], bb: str, tmp_path: Path, run_ch_run: Runner
) -> None:
    del bb
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "FROM app\nRUN stat -c %u:%g:%a /made >/seen\n"
        "FROM bb\nCOPY --from=app /made /copy\nCOPY --from=0 /seen /seen\n"
    )
    first = sharing("build", "--force=notify", "-t", "built", context)
    assert first.stderr.count("copying app from the shared store") == 1
    assert run_ch_run("built", "--", "cat", "/seen").stdout == "5:6:4755\n"
    again = sharing("build", "--force=notify", "-t", "built", context)
    assert "copying app" not in again.stderr
    assert "RUN.C" not in again.stdout
    assert sharing("list").stdout == "app\nbb\nbuilt\n"


def test_a_cached_build_reads_no_layer(
    sharing: Callable[..., Completed], bb: str, published: Path, storage: Path, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM app\nRUN true\nFROM {bb}\nCOPY --from=0 /made /\n")
    sharing("build", "-t", "built", context)
    seen: list[str] = []

    def build() -> None:
        seen.extend(opened(storage, lambda: sharing("build", "-t", "built", context)))

    shared = opened(published, build)
    assert shared.count("sundog-store") > 0
    (name,) = os.listdir(published / "images")
    assert {*shared} == {"sundog-store", name}
    assert "image.json" in seen
    contents = {"file", "index", "owners", "links", "busybox", "made"}
    assert not contents & {*seen}
    target = tmp_path / "built.tar"
    assert contents & {*opened(storage, lambda: runner("ch-convert", storage)("built", target))}


def test_modify_makes_an_image_of_the_user(
    sharing: Callable[..., Completed], run_ch_run: Runner
) -> None:
    sharing("modify", "--force=notify", "-c", "stat -c %u:%a /made >/seen", "app", "mine")
    assert run_ch_run("mine", "--", "cat", "/seen").stdout == "5:4755\n"
    assert sharing("list").stdout == "app\nmine\n"


def test_a_dockerfile_names_no_store(
    run_ch_image: Runner, bb: str, published: Path, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f"FROM {bb}\nENV CH_IMAGE_STORES={published}\nRUN true\nFROM app\n"
    )
    done = run_ch_image("build", "-t", "x", "--pull=never", context, check=False)
    assert done.returncode == 1
    assert "not in storage: app" in done.stderr


def test_it_leaves(
    sharing: Callable[..., Completed],
    run_ch_run: Runner,
    published: Path,
    storage: Path,
    tmp_path: Path,
) -> None:
    tar = tmp_path / "app.tar"
    environment = {"CH_IMAGE_STORES": str(published)}
    convert = runner("ch-convert", storage)
    convert("app", tar, env=environment)
    convert("--image-store", published, "app", tmp_path / "named.tar")
    assert (tmp_path / "named.tar").read_bytes() == tar.read_bytes()
    with tarfile.open(tar) as archive:
        made = next(each for each in archive if each.name.strip("./") == "made")
    assert (made.uid, made.gid, made.mode & 0o7777) == (5, 6, 0o4755)
    sharing("save", "app", "-o", tmp_path / "app.oci.tar")
    loaded = runner("ch-image", tmp_path / "other")
    loaded("load", tmp_path / "app.oci.tar")
    (described,) = json.loads(loaded("inspect", "app").stdout)
    assert described["config"]["config"]["Env"][-1] == "GREETING=hello"
    again = tmp_path / "again"
    sharing("publish", "app", again)
    assert run_ch_run("--image-store", again, "app").stdout == "hello from /mnt\n"
    other = sharing("save", "--arch=s390x", "app", "-o", tmp_path / "other.tar", check=False)
    assert "not in storage" in other.stderr
    assert sharing("list").stdout == "app\n"


def test_it_is_pushed(sharing: Callable[..., Completed]) -> None:
    """Owners included; it gets no name here."""
    with InProcessRegistry().serve() as registry:
        sharing("push", "app", f"{registry.host}/r")
    layers = json.loads(registry.manifests["r", "latest"][1])["layers"]
    members: dict[str, tuple[int, int, int]] = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(registry.blobs["r", layer["digest"]])) as tar:
            members |= {each.name.strip("./"): (each.uid, each.gid, each.mode) for each in tar}
    assert members["made"] == (5, 6, 0o4755)
    assert "bin/busybox" in members
    assert sharing("list").stdout == "app\n"


@pytest.fixture
def sundog(storage: Path, published: Path) -> Callable[..., Completed]:
    """Return a function that runs ``sundog`` with the store."""
    run = runner("sundog", storage)

    def with_store(*arguments: str, check: bool = True) -> Completed:
        return run(*arguments, check=check, env={"CH_IMAGE_STORES": str(published)})

    return with_store


def test_sundog_lists_it_as_read_only(
    sundog: Callable[..., Completed], bb: str, storage: Path
) -> None:
    rows = [line.split() for line in sundog("images").stdout.splitlines()]
    assert rows[0][-1] == "R/O"
    assert {row[0]: row[-1] for row in rows[1:]} == {"app": "true", bb: "false"}
    form = "{{.Repository}} {{.ReadOnly}} {{.IsReadOnly}}"
    for chosen, expected in (("true", "app true true\n"), ("false", f"{bb} false false\n")):
        words = ("images", "--filter", f"readonly={chosen}", "--format", form)
        assert sundog(*words).stdout == expected
    wrong = sundog("images", "--filter", "readonly=x", check=False)
    assert "--filter readonly=x: neither true nor false" in wrong.stderr
    # Without such images, the table is that of podman without them.
    for done in (sundog("images", bb), runner("sundog", storage)("images")):
        assert "R/O" not in done.stdout
        assert bb in done.stdout
    # An own image hides a shared one.
    runner("ch-image", storage)("tag", bb, "app")
    assert "R/O" not in sundog("images").stdout
    for name in (bb, f"{bb}:latest", f"docker.io/library/{bb}"):
        assert sundog("images", "-n", name).stdout.startswith(f"{bb} "), name
    for name in (f"{bb}:other", "X Y"):
        assert sundog("images", "-n", name).stdout == "", name


def test_sundog_knows_it_by_name_and_id(
    sundog: Callable[..., Completed], run_ch_image: Runner, published: Path
) -> None:
    (identity,) = sundog("images", "-q", "--no-trunc").stdout.split()
    words = ("app", "app:latest", "docker.io/library/app", identity[:12])
    (by_name,), *others = (json.loads(sundog("inspect", word).stdout) for word in words)
    assert others == [[by_name]] * 3
    assert by_name["Id"] == identity
    assert by_name["RepoTags"] == ["app"]
    assert by_name["Size"] > 0
    assert by_name["Origin"] == f"shared {published}"
    assert sundog("run", "--rm", identity[:12]).stdout == "hello from /mnt\n"
    assert "no such image" in sundog("inspect", "--type=image", "other", check=False).stderr
    refused = sundog("rmi", identity[:12], check=False)
    assert f"it is in the shared store {published} of" in refused.stderr
    run_ch_image("--image-store", published, "adopt", "app")
    assert sundog("images", "-q", "--no-trunc").stdout == f"{identity}\n"


def test_sundog_run_finds_it_by_platform(sundog: Callable[..., Completed], storage: Path) -> None:
    here = str(Platform.of_host())
    assert sundog("run", "--rm", f"--platform={here}", "app").stdout == "hello from /mnt\n"
    other = sundog("run", "--rm", "--pull=never", "--platform=linux/s390x", "app", check=False)
    assert (other.returncode, "no image in storage: app" in other.stderr) == (125, True)
    created = sundog("create", f"--platform={here}", "app").stdout.strip()
    assert sundog("start", "-a", created).stdout == "hello from /mnt\n"
    # An own image of the name hides it, whatever that one is for.
    (storage.parent / "root/etc").mkdir(parents=True)
    runner("ch-image", storage)("import", "-a", "s390x", storage.parent / "root", "app")
    words = ("run", "--rm", "--pull=never", f"--platform={here}", "app", "true")
    assert sundog(*words, check=False).returncode == 125


# Publishing


def test_a_layer_is_written_once(own: Path, copied: Path) -> None:
    publish = runner("ch-image", own)
    layers = {*(copied / "layers").iterdir()}
    before = {path: path.stat().st_ino for path in copied.glob("layers/*/file")}
    done = publish("publish", "app", copied)
    assert f"published app: 0 layers written, {len(layers)} were there" in done.stderr
    publish("publish", "--as", "site/app:2", "app", copied)
    publish("publish", "app", "bb", copied)
    names = sorted(path.name for path in (copied / "images").iterdir())
    prefix = "docker.io%library%"
    assert names == [f"{prefix}app+latest", f"{prefix}bb+latest", "docker.io%site%app+2"]
    # The base image has its own part, and shares its layer and the mount points.
    assert len({*(copied / "layers").iterdir()} - layers) == 1
    assert {path: path.stat().st_ino for path in before} == before
    done = runner("ch-run", own.parent / "none")("--image-store", copied, "site/app:2")
    assert done.stdout == "hello from /mnt\n"


def test_one_tar_on_two_images_is_two_layers(
    storage_with_busybox: Callable[[str], Path], tmp_path: Path
) -> None:
    """A whiteout of a file that only one of the images has below: the other one shows no file."""
    copy_storage(storage_with_busybox(""), tmp_path / "storage")
    ch_image = runner("ch-image", tmp_path / "storage")
    ch_image("save", "--format=docker-archive", "bb", "-o", tmp_path / "bb.tar")
    with tarfile.open(tmp_path / "bb.tar") as archive:
        files = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    (described,) = json.loads(contents["manifest.json"])
    (base,) = (contents[name] for name in described["Layers"])
    config = json.loads(contents[described["Config"]])
    for name, below in (("without", "other"), ("with", "file")):
        layers = [base, tar_of({below: b""}), tar_of({".wh.file": b""})]
        config["rootfs"]["diff_ids"] = [
            f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers
        ]
        config["history"] = []
        image = {f"{number}.tar": layer for number, layer in enumerate(layers)}
        listed = {"Config": "c.json", "RepoTags": [f"{name}:latest"], "Layers": [*image]}
        documents = {"c.json": config, "manifest.json": [listed]}
        image |= {key: json.dumps(value).encode() for key, value in documents.items()}
        (tmp_path / name).write_bytes(tar_of(image))
        ch_image("load", tmp_path / name)
        ch_image("publish", name, tmp_path / "shared")
    ch_run = runner("ch-run", tmp_path / "none")
    for name in ("without", "with"):
        listing = ch_run("--image-store", tmp_path / "shared", name, "--", "ls", "/").stdout
        assert "file" not in listing.split()


def tar_of(files: dict[str, bytes]) -> bytes:
    """Return a tar of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_publish_refuses(own: Path, tmp_path: Path, copied: Path) -> None:
    publish = runner("ch-image", own)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    copied.chmod(0o775)
    refusals: list[tuple[list[str | Path], str]] = [
        (["app", tmp_path / "full"], "not empty, and no shared store"),
        (["app", tmp_path / "no" / "directory"], "No such file or directory"),
        (["other", tmp_path / "new"], "not in storage: other"),
        (["app", copied], "is writable to others than its owner (mode 0775)"),
        (["--gc", tmp_path / "full"], "it is no shared store"),
        (["--as", "x", "app", "bb", copied], "--as: for one image only"),
        ([copied], "which images?"),
        (["--grace=14d", "app", copied], "--grace is for --gc"),
        (["--gc", "--grace=14y", copied], "not a time such as 14d"),
    ]
    for words, text in refusals:
        done = publish("publish", *words, check=False)
        assert done.returncode in (1, 2), words
        assert text in done.stderr, (words, done.stderr)
    assert os.listdir(tmp_path / "full") == ["mine"]
    assert not (tmp_path / "new").exists()


def test_unpublished_files_stay_for_the_grace_period(own: Path, copied: Path) -> None:
    ch_image, ch_run = runner("ch-image", own), runner("ch-run", own.parent / "none")
    layers = [*(copied / "layers").iterdir()]
    old = time.time() - 30 * 24 * 60 * 60
    for layer in layers:
        os.utime(layer, (old, old))
    draft = copied / "layers" / ".sundog-draft"
    fresh = copied / "layers" / ".sundog-fresh"
    for path in (draft, fresh):
        path.touch()
    os.utime(draft, (old, old))

    ch_image("publish", "--gc", "--grace=0s", copied)
    assert all(layer.exists() for layer in layers)  # an image has them
    assert not draft.exists()
    assert fresh.exists()
    with subprocess.Popen(
        [*command("ch-run"), "--image-store", copied, "app", "--", "sh", "-c", "read x; cat /made"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as running:
        ch_run("--image-store", copied, "app", "--", "true")
        ch_image("unpublish", "app", copied)
        assert ch_image("unpublish", "app", copied, check=False).returncode == 1
        gone = ch_run("--image-store", copied, "app", "--", "true", check=False)
        assert "image not found" in gone.stderr
        ch_image("publish", "--gc", copied)
        assert all(layer.exists() for layer in layers)  # their time has begun with unpublish
        done = ch_image("publish", "--gc", "--grace=0s", copied)
        assert f"removed {len(layers)} layers" in done.stderr
        assert not any(layer.exists() for layer in layers)
        assert running.stdin is not None
        running.stdin.write(b"\n")
        running.stdin.close()
        assert running.wait(30) == 0, running.stderr and running.stderr.read()


def test_a_collection_puts_back_what_a_killed_one_took(own: Path, copied: Path) -> None:
    layers = {*(copied / "layers").iterdir()}
    layer = min(layers)
    layer.rename(layer.with_name(f".sundog-aside-{layer.name}"))
    runner("ch-image", own)("publish", "--gc", copied)
    assert {*(copied / "layers").iterdir()} == layers


def test_two_publishers_and_a_kill(own: Path, tmp_path: Path) -> None:
    store = tmp_path / "shared"
    words: list[str | Path] = [*command("ch-image"), "publish", "app", store]
    environment = {**os.environ, "CH_IMAGE_STORAGE": str(own)}
    two = [subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    for each in two:
        _, said = each.communicate(timeout=60)
        assert each.returncode == 0, said
    assert not [*store.glob("layers/.*")]
    run = runner("ch-run", tmp_path / "none")
    assert run("--image-store", store, "app").stdout == "hello from /mnt\n"
    # A publisher that is killed when its draft is there leaves no name; the next one succeeds.
    other = tmp_path / "other"
    words[-1] = other
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as third:
        end = time.monotonic() + 60
        while third.poll() is None and not [*other.glob("layers/.*")]:
            assert time.monotonic() < end
        third.kill()
    assert not [*other.glob("images/[!.]*")] or third.returncode == 0
    runner("ch-image", own)("publish", "app", other)
    assert run("--image-store", other, "app").stdout == "hello from /mnt\n"


def test_a_full_disk_leaves_no_name(own: Path, small_tmpfs: Callable[[int, str], Path]) -> None:
    store = small_tmpfs(200, "") / "shared"
    done = runner("ch-image", own)("publish", "app", store, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert os.listdir(store / "images") == []
    assert not [*store.glob("*/.*")]  # layers that are complete may stay, for the next attempt


# sundog config


def test_sundog_config(storage: Path, home: Path, published: Path) -> None:
    sundog = runner("sundog", storage)
    variables = configured(home, f"[storage]\nimage_stores = ['{published}']")
    printed = sundog("config", env=variables).stdout.splitlines()
    assert printed[1:3] == [
        f'storage.image_stores = ["{published}"]  # {home}/sundog.toml',
        "# storage.trusted_owners: not set",
    ]
    assert sundog("config", "--check", env=variables).stderr == ""
    variables = configured(
        home, "[storage]\nimage_stores = ['/nonexistent']\ntrusted_owners = ['no such', '77']"
    )
    checked = sundog("config", "--check", env=variables, check=False)
    assert checked.returncode == 1
    assert "no such account: no such" in checked.stderr
    assert "can't use the shared store /nonexistent" in checked.stderr
    broken = configured(home, "[storage")
    done = sundog("config", env=broken, check=False)
    assert done.returncode == 1
    assert f"{home}/sundog.toml: not TOML" in done.stderr
    assert "SUNDOG_CONFIG=none" in done.stderr
    locked = runner("ch-run", storage)("app", "--", "true", env=broken, check=False)
    assert f"{home}/sundog.toml: not TOML" in locked.stderr
    free = {**broken, "SUNDOG_CONFIG": "none"}
    done = runner("ch-run", storage)("app", "--", "true", env=free, check=False)
    assert "image not found: app" in done.stderr
