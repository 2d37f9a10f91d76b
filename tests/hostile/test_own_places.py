"""Sundog's storage and run-time state, where a bind shows a directory above them.

An image changes nothing there, and sees nothing: ``reveal.c`` has the ways.  The place is

    box/storage             a storage directory; ``link`` leads to ``box``
    box/run/sundog          run-time state: $XDG_RUNTIME_DIR is box/run
    box/shown               a directory of the user's, which stays visible
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.configuration.storage import own_places
from sundog.base.record.location import account_name
from tests.conftest import Completed, command, run_program
from tests.front.oci_runtime.conftest import CONFIG
from tests.runtime.launcher.conftest import make_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAMES = ("storage", "run/sundog", "state")
SOURCE = Path(__file__).with_name("reveal.c")
STARTS = ("compiled", "python")
ACCOUNT = account_name(os.geteuid()).decode()
# What follows ch-run, the place in the container, and more variables; @BOX@ and such are paths.
BINDS: dict[str, tuple[list[str], str, dict[str, str]]] = {
    "bind": (["-b", "@BOX@:/mnt/1"], "/mnt/1", {}),
    "bind of a parent": (["-b", "@PLACE@:/mnt/1"], "/mnt/1/box", {}),
    "bind by a link": (["-b", "@LINK@:/mnt/1"], "/mnt/1", {}),
    "bind at another path": (["-W", "-b", "@BOX@:/a/b"], "/a/b", {}),
    "root": (["-u0", "-g0", "-b", "@BOX@:/mnt/1"], "/mnt/1", {}),
    "root that writes": (["-W", "-u0", "-g0", "--seccomp", "-b", "@BOX@:/mnt/1"], "/mnt/1", {}),
    "read-only": (["-u0", "-b", "@BOX@:/mnt/1:ro"], "/mnt/1", {}),
    "private /tmp": (["-t", "-b", "@BOX@:/mnt/1"], "/mnt/1", {}),
    "emulated root": (["--notify", "-b", "@BOX@:/mnt/1"], "/mnt/1", {}),
    "another storage": (["-s", "@PLACE@/other", "-b", "@BOX@:/mnt/1"], "/mnt/1", {}),
    "TMPDIR": ([], "/tmp", {"TMPDIR": "@BOX@"}),
    "TMPDIR above": (["-u0"], "/tmp/box", {"TMPDIR": "@PLACE@"}),
    "home": (["--home", "-W"], "@BOX@", {"HOME": "@BOX@", "USER": ACCOUNT}),
    "a storage by a link": (
        ["-b", "@PLACE@:/mnt/1"],
        "/mnt/1/box",
        {"CH_IMAGE_STORAGE": "@LINK@/storage"},
    ),
}


@dataclass(frozen=True)
class Box:
    """The place, and an image with the program."""

    path: Path

    @property
    def box(self) -> Path:
        """The directory above Sundog's own ones."""
        return self.path / "box"

    @property
    def environment(self) -> dict[str, str]:
        """The variables for Sundog."""
        return {
            "CH_IMAGE_STORAGE": f"{self.box}/storage",
            "XDG_RUNTIME_DIR": f"{self.box}/run",
            "USER": ACCOUNT,
            "TMPDIR": "/tmp",  # the compiled start serves few others
        }

    def filled(self, text: str) -> str:
        """Put the paths in."""
        for name, path in {"BOX": self.box, "LINK": self.path / "link", "PLACE": self.path}.items():
            text = text.replace(f"@{name}@", str(path))
        return text

    def run(
        self, *words: str | Path, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run a command of Sundog's."""
        argv = [*command(str(words[0])), *(self.filled(str(word)) for word in words[1:])]
        environment = self.environment | dict(env or {})
        return run_program(argv, check=check, env=environment, cwd=self.path)

    def files(self) -> list[str]:
        """Return all paths in Sundog's directories; some come and go as usual."""
        found = [path for name in NAMES for path in sorted((self.box / name).rglob("*"))]
        usual = ("/accounts", "/locks/", "/running/", "/state/c")
        return [str(path) for path in found if not any(name in str(path) for name in usual)]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Box:
    box = Box(tmp_path_factory.mktemp("own"))
    program = box.path / "reveal"
    subprocess.run(["gcc", "-static", "-O1", "-Wall", "-Werror", "-o", program, SOURCE], check=True)
    (box.path / "other").mkdir(mode=0o700)
    for name in ("shown", "run/sundog/containers/web", "state"):
        (box.box / name).mkdir(parents=True)
    (box.box / "run").chmod(0o700)
    (box.box / "run/sundog/containers/web/state.json").write_text("{}")
    (box.box / "shown" / "file").write_text("of the user\n")
    (box.path / "link").symlink_to(box.box)
    tree = make_image(box.path / "tree")
    for name in ("1", "2"):
        (tree / "mnt" / name).mkdir()
    program.rename(tree / "reveal")
    (tree / "home").mkdir()
    box.run("ch-image", "import", "-q", tree, "image")
    return box


@pytest.fixture
def unchanged(box: Box) -> Iterator[None]:
    before = box.files()
    assert len(before) > 20
    yield
    after = box.files()
    assert set(before) - set(after) == set()
    assert not [path for path in after if "planted" in path]
    assert (box.box / "shown" / "file").read_text() == "of the user\n"


def verdict(done: Completed) -> list[str]:
    """Return what the program has reached; it must have tried all."""
    lines = done.stdout.splitlines()
    assert lines[-1:] == ["done"], done
    return lines[:-1]


def attack(at: str, names: Sequence[str] = NAMES) -> list[str]:
    """Return the command."""
    return ["/reveal", at, *names]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("case", BINDS)
def test_ch_run(case: str, start: str, box: Box) -> None:
    options, at, more = BINDS[case]
    env = {name: box.filled(value) for name, value in more.items()}
    if start == "python":
        env["SUNDOG_START"] = start
    words = ["ch-run", *options, "image" if case != "another storage" else str(box.path / "tree")]
    done = box.run(*words, "--", *attack(at, NAMES[:2]), env=env)
    assert verdict(done) == []
    assert done.stderr == ""
    done = box.run(*words, "--", "cat", f"{at}/shown/file", env=env)
    assert done.stdout == "of the user\n"


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "options", [[], ["--userns=keep-id"], ["-e", "XDG_RUNTIME_DIR=/elsewhere"]], ids=str
)
def test_sundog_run(options: list[str], start: str, box: Box) -> None:
    """ch-run learns where the run-time state is, and the command does not."""
    env = {"SUNDOG_START": "python"} if start == "python" else {}
    words = ["sundog", "run", "--rm", *options, "-v", "@BOX@:/mnt/1", "image"]
    assert verdict(box.run(*words, *attack("/mnt/1", NAMES[:2]), env=env)) == []
    done = box.run(*words, "sh", "-c", "echo $XDG_RUNTIME_DIR", env=env)
    assert done.stdout == ("/elsewhere\n" if "-e" in options else "\n")


@pytest.mark.usefixtures("unchanged")
def test_a_directory_that_is_written_to(box: Box) -> None:
    """ch-run -w DIR, where DIR contains Sundog's directories."""
    directory = make_image(box.box / "dir")
    (box.box / "storage").rename(directory / "storage")
    (box.box / "storage").symlink_to(directory / "storage")
    (directory / "mnt/1").mkdir()
    try:
        (directory / "reveal").hardlink_to(box.path / "tree" / "reveal")
        env = {"CH_IMAGE_STORAGE": str(directory / "storage")}
        for options in (["-w"], ["-w", "-u0", "-g0"]):
            done = box.run("ch-run", *options, directory, "--", *attack("/", ["storage"]), env=env)
            assert verdict(done) == []
    finally:
        (box.box / "storage").unlink()
        (directory / "storage").rename(box.box / "storage")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "options", [[], ["-u0", "-g0"], ["--notify"]], ids=["plain", "root", "notify"]
)
def test_join(options: list[str], box: Box) -> None:
    """A process that joins sees what the first one does."""
    tag = f"--join-tag=own-{os.getpid()}-{len(options)}"  # the last case's group may still end
    words = ["ch-run", tag, *options, "-b", "@BOX@:/mnt/1", "image", "--"]
    argv = [
        *command("ch-run"),
        *(box.filled(word) for word in words[1:]),
        "sh",
        "-c",
        "echo up; cat",
    ]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | box.environment
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"up\n"
        assert verdict(box.run(*words, *attack("/mnt/1", NAMES[:2]))) == []
        assert first.stdin is not None
        first.stdin.close()
    assert first.returncode == 0


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("force", ["seccomp", "notify", "none"])
def test_build(force: str, box: Box, tmp_path: Path) -> None:
    """RUN with ``ch-image build -b``."""
    words = json.dumps(
        ["sh", "-c", f"{' '.join(attack('/mnt/1', NAMES[:2]))} >/said; cat /mnt/1/shown/file"]
    )
    (tmp_path / "Dockerfile").write_text(f"FROM image\nRUN {words}\n")
    build = ["ch-image", "build", "--no-cache", f"--force={force}", "-t", "built"]
    done = box.run(*build, "-b", "@BOX@:/mnt/1", tmp_path)
    assert "of the user" in done.stdout + done.stderr
    assert box.run("ch-run", "built", "--", "cat", "/said").stdout == "done\n"
    box.run("ch-image", "delete", "built")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("uid", [0, 7])
@pytest.mark.parametrize("source", ["@BOX@", "@LINK@"])
def test_oci(uid: int, source: str, box: Box, tmp_path: Path) -> None:
    """A bundle of ch-run-oci, whose --root is below the bind, too."""
    config = json.loads(json.dumps(CONFIG))
    config["root"] = {"path": str(box.path / "tree"), "readonly": True}
    config["process"] |= {"args": attack("/mnt/1"), "user": {"uid": uid, "gid": uid}}
    bind = {"destination": "/mnt/1", "type": "bind", "options": ["rbind", "rw"]}
    config["mounts"].append(bind | {"source": box.filled(source)})
    (tmp_path / "config.json").write_text(json.dumps(config))
    words: list[str | Path] = ["--root", box.box / "state", "run", "-b", tmp_path, f"c{uid}"]
    assert verdict(box.run("ch-run-oci", *words)) == []


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("part", ["", "/images", "/version"])
@pytest.mark.parametrize("way", ["@BOX@", "@LINK@"])
def test_the_users_will(way: str, part: str, start: str, box: Box) -> None:
    """A bind of the storage itself is read-only, and says so, unless ``:rw`` is written."""
    source = f"{way}/storage{part}"
    target = f"/mnt/1/{'x' if part == '/version' else ''}"
    script = f"ls {target}; touch {target.rstrip('/')}/planted {target.rstrip('/')} && echo written"
    env = {"SUNDOG_START": start} if start == "python" else {}
    words = ["ch-run", f"--bind={source}:{target}", "-W", "image", "--", "sh", "-c", script]
    shown = box.run(*words, check=False, env=env)
    assert "written" not in shown.stdout
    assert shown.stdout, shown
    told = [line for line in shown.stderr.splitlines() if "Sundog's own" in line]
    assert len(told) == 1
    assert f"write :{target}:rw to change that" in told[0]
    quiet = box.run(
        "ch-run", "-W", f"--bind={source}:{target}:ro", *words[2:], check=False, env=env
    )
    assert (quiet.stdout, "Sundog's own" in quiet.stderr) == (shown.stdout, False)
    if part != "/version":
        script = f"touch {target}/planted && rm {target}/planted && echo written"
        done = box.run(
            "ch-run", f"--bind={source}:{target}:rw", "image", "--", "sh", "-c", script, env=env
        )
        assert (done.stdout, done.stderr) == ("written\n", "")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("runtime", ["", "/nowhere"])
def test_the_logins_run_time_state(runtime: str, start: str, box: Box) -> None:
    """It is covered, also where $XDG_RUNTIME_DIR does not name it, as in a job of cron."""
    script = 'mount -t tmpfs none /run; mkdir -p "/run/user/$(id -u)/sundog"; echo x >/run/seen;'
    script += 'echo x >"/run/user/$(id -u)/sundog/hidden"; exec setpriv --ambient-caps=-all "$@"'
    words = [*command("ch-run"), "-t", "-b/run:/mnt/1", "image", "--"]
    inside = ["sh", "-c", "cd /mnt/1; ls -d seen user/*/sundog user/*/sundog/*; true"]
    started = ["unshare", "-m", "-c", "--keep-caps", "sh", "-ec", script, "sh", *words, *inside]
    env = box.environment | {"XDG_RUNTIME_DIR": runtime, "SUNDOG_START": start}
    box.run("ch-run", "image", "--", "true")  # leaves the accounts for the compiled start
    done = run_program(started, env=env, cwd=box.path)
    assert done.stdout.splitlines() == ["seen", f"user/{os.geteuid()}/sundog"], done


@pytest.fixture
def usual() -> Iterator[Path]:
    """The usual storage directory of an account whose name is that before its suffix."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", suffix=".sundog") as place:
        (Path(place) / "version").write_text("")
        yield Path(place)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("options", [[], ["-u0", "-g0"], ["--no-passwd"]], ids=" ".join)
@pytest.mark.parametrize("user", [None, "", "no-such", "the account's"])
def test_the_storage_of_the_account(
    user: str | None, options: list[str], start: str, *, box: Box, usual: Path, tmp_path: Path
) -> None:
    """It is covered where another one is in use, also if $USER is another name, as after su -m."""
    account = usual.name.removesuffix(".sundog")
    passwd = tmp_path / "passwd"
    passwd.write_text(f"root:x:0:0::/:\n{account}:x:{os.geteuid()}:{os.getegid()}::/:/bin/sh\n")
    script = f'mount --bind {passwd} /etc/passwd; exec setpriv --ambient-caps=-all "$@"'
    env = box.environment | {"SUNDOG_START": "python"} if start == "python" else box.environment
    if user is not None:
        env = env | {"USER": user.replace("the account's", account)}
    else:
        script = f"unset USER; {script}"
    words = [*command("ch-run"), *options, "-b/var/tmp:/mnt/1", "image", "--"]
    started = ["unshare", "-m", "-c", "--keep-caps", "sh", "-ec", script, "sh", *words]
    box.run("ch-run", *options, "image", "--", "true")  # leaves the accounts for the compiled start
    done = run_program([*started, *attack("/mnt/1", [usual.name])], env=env, cwd=box.path)
    assert verdict(done) == []
    assert os.listdir(usual) == ["version"]


@pytest.mark.parametrize("start", STARTS)
def test_the_common_start_covers_nothing(start: str, box: Box, tmp_path: Path) -> None:
    """It takes no mount more; a bind takes one for each directory."""
    variables = dict(os.environb)
    variables |= {os.fsencode(key): os.fsencode(box.environment[key]) for key in box.environment}
    places = own_places(os.fsencode(box.box / "storage"), variables)
    tmpfs = {}
    for options in ("-t", "-t -b@BOX@/shown:/mnt/1"):
        log = tmp_path / "log"
        words = ["-f", "-qq", "-e", "trace=mount", "-e", "signal=none", "-o", str(log)]
        started = [*command("ch-run"), *box.filled(options).split(), "image", "--", "true"]
        env = box.environment | ({"SUNDOG_START": start} if start == "python" else {})
        run_program(["strace", *words, *started], env=env, cwd=box.path)
        tmpfs[options[:2] + str(len(options))] = log.read_text().count('"tmpfs"')
    common, bind = tmpfs.values()
    # The scratch and /tmp; storage and state, and what the account has besides.
    assert len(places) >= 2
    assert (common, bind - common) == (2, len(places))


def test_nested(box: Box, busybox_tar: Path) -> None:
    """Sundog in a container has a storage of its own: build and run go on working there."""
    libraries = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, "/usr", "/etc")}
    places = [str(box.box), os.path.dirname(busybox_tar), *sorted(libraries)]
    script = """
        set -e
        export CH_IMAGE_STORAGE=/var/own/storage XDG_RUNTIME_DIR=/var/own/run
        mkdir -p /var/own/run && chmod 700 /var/own/run
        ch-image import -q "$1" inner
        printf 'FROM inner\\nRUN echo made >/made\\n' | ch-image build -q -t built -
        ch-run built -- cat /made
        sundog run -d --name web built sleep 100 >/dev/null
        sundog exec web echo in
        sundog rm -f web
    """
    tree = make_image(box.path / "nested")
    for link in ("lib", "lib64", "sbin"):
        if os.path.islink(f"/{link}"):
            (tree / link).symlink_to(os.readlink(f"/{link}"))
    binds = [f"-b{place}" for place in places if place != "/usr"]
    done = box.run(
        *("ch-run", "-W", *binds, "-b/usr", "./nested", "--", "/usr/bin/bash", "-c", script),
        *("sh", busybox_tar),
        env={"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"},
    )
    assert done.stdout.splitlines() == ["made", "in", "web"]
