"""Calls of a start to the file system that holds the images: few, and a bound for each kind.

On a cluster that file system is shared, and each rank is a start.  docs/explanation/sizing.md
uses these numbers.  The calls of the command in the container don't count.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import skip_needs_root
from tests.runtime.fuse.conftest import FUSE, make_squashfs
from tests.runtime.launcher.compiled import leave_accounts
from tests.runtime.launcher.conftest import make_image
from tests.runtime.launcher.storages import fill_storage, make_storage

OPEN = re.compile(r"open(at2?)?\(")
# By --seccomp-bpf, only these calls stop a process.  Otherwise strace could wait for a page of the
# image, and the image's server for strace.
TRACE = ("strace", "-ff", "-y", "-qq", "--seccomp-bpf", "-e", "trace=%file", "-e", "signal=none")


class Calls(NamedTuple):
    """Opens, and other calls that name a file or look at one.

    An open with O_PATH is a look-up: the file system does not learn of it.
    """

    opens: int
    lookups: int

    @classmethod
    def of(cls, calls: list[str]) -> "Calls":
        opens = sum(bool(OPEN.match(call)) and "O_PATH" not in call for call in calls)
        return cls(opens, len(calls) - opens)

    def is_within(self, limit: "Calls") -> bool:
        return all(one <= most for one, most in zip(self, limit, strict=True))


class Node:
    """A node of a cluster, and the directory that it shares: a storage and a SquashFS file."""

    def __init__(self, installed: Path, place: Path) -> None:
        self.command = installed
        self.shared = place / "shared"
        self.shared.mkdir()
        self.storage = fill_storage(make_storage(self.shared / "storage"))
        leave_accounts(self.storage, os.geteuid(), os.getegid())
        self.file = make_squashfs(make_image(place / "tree"), self.shared / "image.sqfs")
        self.logs = place / "logs"
        self.logs.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        # The first of a group starts in Python.
        return {"CH_IMAGE_STORAGE": str(self.storage), "PATH": "/bin"}

    def start(self, *words: str | Path) -> list[str]:
        """Start `true`; return the calls of all processes up to the one that executes it."""
        done = subprocess.run(
            [*TRACE, "-o", self.logs / "log", self.command, *words, "--", "true"],
            env=self.environment | {"SUNDOG_START": "compiled"},
            cwd="/",
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [call for log in self.logs.iterdir() for call in before_the_command(log)]

    def about_shared(self, calls: list[str]) -> list[str]:
        return [call for call in calls if str(self.shared) in call]


def before_the_command(log: Path) -> Iterator[str]:
    """Give a process's calls without the first execve(2), which has the whole command line."""
    calls = log.read_text().splitlines()
    executed = [at for at, call in enumerate(calls) if re.match(r"execve\(.*\) = 0$", call)]
    for call in calls[: executed[-1]] if len(executed) > 1 else calls:
        if not call.startswith("execve("):
            yield call


@pytest.fixture
def node(installed: Path, tmp_path: Path) -> Node:
    return Node(installed, tmp_path)


def test_by_name(node: Node) -> None:
    """The opens are those of the image's description and of the user's account."""
    calls = node.about_shared(node.start("app"))
    assert Calls.of(calls).is_within(Calls(2, 8)), calls


def test_one_file(node: Node) -> None:
    """The opens are those of the file and of the user's account."""
    if not os.access(FUSE, os.R_OK | os.W_OK):
        skip_needs_root()
    calls = node.about_shared(node.start(node.file))
    assert Calls.of(calls).is_within(Calls(2, 6)), calls


@pytest.mark.parametrize("kind", ["name", "file"])
def test_joining(node: Node, kind: str) -> None:
    """A process that joins asks for one status at most.  Only root could see of which file.

    So the limits are for all files: those of /proc, and the command in the container.
    """
    if kind == "file" and not os.access(FUSE, os.R_OK | os.W_OK):
        skip_needs_root()
    image: str | Path = node.file if kind == "file" else "app"
    words = (f"--join-tag=shared-{kind}-{os.getpid()}", image)
    keeper = subprocess.Popen(
        [node.command, *words, "--", "sh", "-c", "echo ready; read line"],
        env=node.environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == b"ready\n"
        calls = node.start(*words)
    finally:
        keeper.communicate()
    assert not node.about_shared(calls)
    # Two opens are of a sysctl and of the command, and a look-up is for the site's configuration.
    # Four look in the container for what a file of another program has; the flags of openat2 are
    # out of strace's sight.
    limit = {"name": Calls(2, 11), "file": Calls(6, 12)}[kind]
    assert Calls.of(calls).is_within(limit), calls
