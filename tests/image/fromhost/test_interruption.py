"""``ch-fromhost`` ends at any system call of a kind: the image is the old one or the new one.

The image is seen as its programs see it: through the symlinks that ``ch-fromhost`` may leave.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import MATRICES, command, run_program

from .conftest import Host, Image, copy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLED_AT = ("renameat", "symlinkat", "linkat", "unlinkat", "mkdirat", "syncfs")
# What the command injects over, and what is new.
FILES = ("mnt/one", "mnt/two", "mnt/link", "opt/new")
# The image's own program tells what it sees.
LOOK = 'for f in "$@"; do if test -e "/$f"; then cat "/$f"; else echo none; fi; done'


def view(image: Image) -> list[str]:
    """Return what a program in the image finds in the files."""
    done = image.run("/bin/sh", "-c", LOOK, "sh", *FILES)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


OLD, NEW = ["old", "old", "target", "none"], ["new"] * 4


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    words = []
    for name in FILES:
        path = tmp_path / "host" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("new\n")
        words += ["-d", f"/{os.path.dirname(name)}", "-p", str(path)]
    return words


def prepared(host: Host, path: Path) -> Image:
    image = copy_of(host.template, path)
    for name in FILES[:2]:
        (image.path / name).write_text("old\n")
    (image.path / "mnt/target").write_text("target\n")
    (image.path / "mnt/link").symlink_to("target")
    return image


def signalled(when: str, image: Image, words: list[str]) -> list[str]:
    """Return the command line of an injection that gets a signal."""
    traced = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "-e", f"inject={when}"]
    return [*traced, *command("ch-fromhost"), "-q", *words, str(image.path)]


def interrupted(
    image: Image, words: list[str], call: str, number: signal.Signals
) -> Iterator[subprocess.CompletedProcess[str]]:
    """Inject, with a signal at some of the calls, until nothing is hit."""
    count, step = 1, 4 if MATRICES else 2
    while True:
        done = run_program(
            signalled(f"{call}:signal={number.name}:when={count}", image, words), check=False
        )
        yield done
        if done.returncode == 0:
            return
        count += 1 + count // step


@pytest.mark.slow
@pytest.mark.parametrize("call", KILLED_AT)
def test_killed(host: Host, sources: list[str], tmp_path: Path, call: str) -> None:
    image = prepared(host, tmp_path / "image")
    old = image.content()
    seen = []
    for done in interrupted(image, ["--no-ldconfig", *sources], call, signal.SIGKILL):
        found = view(image)
        assert found in (OLD, NEW), (call, done)
        seen.append(found == NEW)
        # The next ch-fromhost finishes or undoes the work of the one that was killed.
        image.inject("--print-lib")
        image.inject("--no-ldconfig", "-d", "/mnt", "-p", "/etc/passwd")
        assert view(image) == found
        assert not (image.path / "ch").exists()
        (image.path / "mnt/passwd").unlink()
        if found == NEW:
            for name in FILES:
                assert not (image.path / name).is_symlink()
            for path, text in (("mnt/one", "old\n"), ("mnt/two", "old\n")):
                (image.path / path).write_text(text)
            (image.path / "mnt/link").unlink()
            (image.path / "mnt/link").symlink_to("target")
            (image.path / "opt/new").unlink()
        assert image.content() == old
    assert seen[-1]
    if call == "renameat":
        assert set(seen) == {False, True}


@pytest.mark.parametrize("call", ["symlinkat", "syncfs"])
def test_terminated(host: Host, sources: list[str], tmp_path: Path, call: str) -> None:
    """^C and kill leave nothing behind."""
    image = prepared(host, tmp_path / "image")
    old = image.content()
    process = subprocess.Popen(
        signalled(f"{call}:signal=SIGINT:when=2", image, ["--no-ldconfig", *sources]),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert view(image) == OLD
    assert image.content() == old


READER = """\
while test ! -e /tmp/stop; do
    read -r one < /mnt/one; read -r two < /mnt/two; echo "$one $two"
done
"""


def test_a_running_container_sees_all_old_or_all_new_files(
    host: Host, sources: list[str], tmp_path: Path
) -> None:
    """The container reads one file after the other, so the second may be newer than the first."""
    image = prepared(host, tmp_path / "image")
    (tmp_path / "tmp").mkdir()
    words = ["-b", f"{tmp_path}/tmp:/tmp", str(image.path), "--", "/bin/sh", "-c", READER]
    # Nothing may be missing in the image: ch-run would put an overlay over it, and overlayfs shows
    # no changes of what is below.
    env = {name: os.environ[name] for name in ("HOME", "PATH", "USER") if name in os.environ}
    with open(tmp_path / "said", "w+") as said:
        argv = [*command("ch-run"), *words]
        reader = subprocess.Popen(argv, env=env, stdout=said, stderr=said)
        wait_for_text(tmp_path / "said")
        image.inject("--no-ldconfig", *sources)
        seen = (tmp_path / "said").stat().st_size
        while (tmp_path / "said").stat().st_size < seen + 1000 and reader.poll() is None:
            os.sched_yield()
        (tmp_path / "tmp/stop").touch()
        assert reader.wait(60) == 0
    lines = (tmp_path / "said").read_text().splitlines()
    assert {"old old", "new new"} <= set(lines) <= {"old old", "old new", "new new"}


def wait_for_text(path: Path) -> None:
    """Wait until a file is no longer empty."""
    deadline = time.monotonic() + 60
    while not path.stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_file_system(
    host: Host, small_tmpfs: Callable[[int, str], Path], tmp_path: Path
) -> None:
    image = Image(small_tmpfs(16 << 10, "") / "image")
    run_program(["cp", "-a", host.template, image.path])
    before = image.content()
    large = tmp_path / "large"
    large.write_bytes(b"x" * (16 << 20))
    done = image.inject("-d", "/mnt", "-p", "/etc/passwd", "-p", large, check=False)
    assert done.returncode == 1
    first, *others = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "no space" in (first + "".join(others)).lower()
    assert image.content() == before


def test_two_at_once(host: Host, tmp_path: Path) -> None:
    image = prepared(host, tmp_path / "image")
    started = []
    for number in range(6):
        path = tmp_path / f"file{number}"
        path.write_text(str(number))
        words = ["-q", "-d", "/mnt", "-p", str(path), str(image.path)]
        started.append(subprocess.Popen([*command("ch-fromhost"), *words]))
    assert [process.wait(60) for process in started] == [0] * 6
    for number in range(6):
        assert (image.path / f"mnt/file{number}").read_text() == str(number)
    assert not (image.path / "ch").exists()
