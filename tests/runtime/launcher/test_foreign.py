"""``ch-run`` of programs of other machines, by an emulator that it registers for them alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conftest import base_image, command, made_once, run_program, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Completed

OWN = os.uname().machine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an image for aarch64: a tree, a file, and in a storage directory."""

    def make(directory: Path) -> None:
        tree = directory / "tree"
        tree.mkdir()
        subprocess.run(["tar", "-C", tree, "-xf", base_image("busybox-arm64")], check=True)
        env = {"CH_IMAGE_STORAGE": str(directory / "storage")}
        run_program([*command("ch-image"), "import", str(tree), "arm"], env=env)
        run_program([*command("ch-convert"), str(tree), str(directory / "arm.sqfs")], env=env)

    return made_once(tmp_path_factory, "foreign", make)


def ch_run(place: Path, *words: str | Path, check: bool = True, **env: str) -> Completed:
    line = [*command("ch-run"), *map(str, words)]
    storage = {"CH_IMAGE_STORAGE": str(place / "storage")}
    return run_program(line, check=check, env=storage | env, cwd=place)


@pytest.mark.parametrize("image", ["arm", "./tree", "./arm.sqfs"])
@pytest.mark.parametrize(
    "options",
    [[], ["-W"], ["-u0", "-g0"], ["--notify"], ["-W", "--notify"], ["--join"]],
    ids=" ".join,
)
def test_start(place: Path, image: str, options: list[str]) -> None:
    who = "0" if "--notify" in options or "-u0" in options else str(os.getuid())
    script = "uname -m; id -u; sh -c 'echo $0' first; ls /proc/sys/fs/binfmt_misc | wc -l"
    group = [f"--join-tag=start{os.getpid()}{image}"] if "--join" in options else []
    done = ch_run(place, *options, *group, image, "--", "/bin/sh", "-c", script)
    hidden = len(os.listdir("/proc/sys/fs/binfmt_misc"))
    assert done.stdout.split("\n") == ["aarch64", who, "first", str(hidden), ""]
    assert done.stderr == ""


def test_a_group(place: Path) -> None:
    """Each process of a group has the emulator."""
    words = ["--join", "--join-tag=foreign", "./tree", "--"]
    with started(place, *words, "sh", "-c", "read x") as (first, write):
        until(lambda: ch_run(place, *words, "uname", "-m", check=False).stdout == "aarch64\n")
        write("x\n")
        assert first.wait() == 0


def test_a_process_that_stays(place: Path) -> None:
    """It has the emulator when the command has ended."""
    script = "exec 3<&0; (read x <&3; uname -m) & :"
    with started(place, "./tree", "--", "sh", "-c", script) as (first, write):
        assert first.wait() == 0
        write("x\n")
        assert first.stdout is not None
        assert first.stdout.read() == "aarch64\n"


@contextmanager
def started(
    place: Path, *words: str
) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], object]]]:
    """Start ``ch-run``; yield it, and a function that writes to it."""
    env = os.environ | {"CH_IMAGE_STORAGE": str(place / "storage")}
    with subprocess.Popen(
        [*command("ch-run"), *words],
        env=env,
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        yield process, process.stdin.write


def test_what_the_mount_covers_is_not_hidden(place: Path) -> None:
    """A program may still mount a proc of its own, as in a container without an emulator."""
    own = "/own/busybox"  # of this machine
    (place / "tree/own").mkdir()
    shutil.copy("/bin/busybox", f"{place}/tree{own}")
    script = f"uname -m; {own} unshare -r -m -p -f {own} mount -t proc p /proc && echo mounted"
    assert ch_run(place, "./tree", "--", "sh", "-c", script).stdout == "aarch64\nmounted\n"


def test_without_an_emulator(place: Path) -> None:
    for env, said in (
        ({"PATH": "/nothing"}, "no emulator for programs of aarch64: no qemu-aarch64 in $PATH"),
        ({"CH_QEMU": "/bin/ls"}, "can't emulate aarch64: /bin/ls is no static program"),
        ({"CH_QEMU": "/bin/busybox"}, "/bin/busybox does not run programs of aarch64"),
    ):
        done = ch_run(place, "./tree", "--", "true", check=False, **env)
        assert done.returncode == 31
        assert [line.partition(": ")[2][:5] for line in done.stderr.splitlines()] == [
            "error",
            "hint:",
        ]
        assert said in done.stderr


def test_a_start_of_this_machine_knows_nothing_of_it(place: Path, busybox_tree: Path) -> None:
    """The compiled start hands over when it sees the program; others begin as ever."""
    usual = {"TMPDIR": "/tmp"}
    words, compiled = ("--no-passwd", "./tree", "--", "true"), usual | {"SUNDOG_START": "compiled"}
    done = ch_run(place, *words, check=False, **compiled)
    assert "declined: a program of another kind" in done.stderr
    calls = place / f"calls-{os.getpid()}"
    for start in ("compiled", "python"):
        line = ["strace", "-f", "-qq", "-e", "trace=unshare,fsopen,fork,vfork", "-o", str(calls)]
        line += [*command("ch-run"), "--no-passwd", str(busybox_tree), "--", "/bin/true"]
        run_program(line, env=usual | {"SUNDOG_START": start})
        made = [each.partition(" ")[2].strip() for each in calls.read_text().splitlines()]
        assert [each for each in made if "fsopen" in each] == []
        assert len([each for each in made if each.startswith("unshare(")]) == 1
