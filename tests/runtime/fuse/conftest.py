"""Images that are one file, and the processes that serve them."""

import ctypes
import os
import re
import subprocess
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from sundog.base.kernel.process import PR_SET_CHILD_SUBREAPER
from tests.runtime.launcher.compiled import python_start
from tests.runtime.launcher.conftest import ENVIRONMENT, image, installed
from tests.runtime.launcher.installation import make_storage

__all__ = ["image", "installed"]

FUSE = "/dev/fuse"
# A pseudo file of mksquashfs(1) has what an ordinary user can't make.
MAKE_OPTIONS = ("-noappend", "-quiet", "-no-progress", "-processors", "1")

Completed = subprocess.CompletedProcess[bytes]
Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def fuse(fuse: None) -> None:
    """Skip each test here where this user may not open /dev/fuse."""


def make_squashfs(tree: Path, file: Path, *options: str, pseudo: Sequence[str] = ()) -> Path:
    """Make a SquashFS of ``tree``."""
    words = [word for line in pseudo for word in ("-p", line)]
    line = ["mksquashfs", str(tree), str(file), *MAKE_OPTIONS, *options, *words]
    subprocess.run(line, check=True, capture_output=True)
    return file


@pytest.fixture(autouse=True)
def subreaper() -> Generator[None]:
    """Make the servers that tests start children of this process, so that it can tell them."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
    for server in servers():
        os.waitpid(server, 0)


@pytest.fixture
def squashfs(image: Path, tmp_path: Path) -> Path:
    """Return the image of busybox as a file whose name tells nothing."""
    return make_squashfs(
        image, tmp_path / "image.data", "-comp", "zstd", "-Xcompression-level", "1"
    )


class Containers:
    """Starts ``ch-run``, and finds the servers of its images."""

    def __init__(self, command: Path, place: Path) -> None:
        self.command = command
        self.place = place
        self.environment = ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage")}

    def run(self, *arguments: str | Path, prepare: Callable[[], None] | None = None) -> Completed:
        """Run to the end.  The process calls ``prepare`` before it becomes ``ch-run``."""
        return subprocess.run(
            [self.command, *arguments],
            env=self.environment,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=prepare,
        )

    def output(self, *arguments: str | Path) -> str:
        """Run to the end; return the standard output of a success."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def begin(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        """Start, with pipes; the command must print a line first.  Its session is its own."""
        process = subprocess.Popen(
            [self.command, *arguments],
            env=self.environment,
            cwd=self.place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == b"ready\n", line
        return process


def servers() -> dict[int, int]:
    """Return the process IDs of the servers that this process has, and when each started."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path("/proc", name, "stat").read_text(errors="replace")
            if os.stat(f"/proc/{name}").st_uid not in (os.geteuid(), 0):
                continue
        except OSError:
            continue
        parts = re.fullmatch(r"\d+ \((.*)\) (\w) (.*)\n", text, re.DOTALL)
        assert parts is not None
        parent, *fields = parts[3].split()
        if parts[1] == "sundog-fuse" and parts[2] != "Z" and int(parent) == os.getpid():
            found[int(name)] = int(fields[17])
    return found


@pytest.fixture(params=["python", "compiled"])
def containers(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> Containers:
    """Start by the launcher in Python, and by the compiled program, which may hand over."""
    if request.param == "python":
        return Containers(python_start(installed), tmp_path)
    make_storage(tmp_path / "storage")
    return Containers(installed, tmp_path)
