"""Each system call of the compiled ``ch-run`` fails once.

Then the launcher in Python runs the command correctly, or one message gives the reason.
"""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from sundog.runtime.launcher.run_plan import OPTIONAL_BINDS
from tests.conftest import skip_needs_root
from tests.runtime.fuse.conftest import FUSE, make_squashfs
from tests.runtime.launcher.compiled import Compiled, leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT, make_image
from tests.runtime.launcher.storages import fill_storage, make_storage

pytestmark = pytest.mark.slow  # no Python is in it

# Show the properties of the container: mounts, IDs, environment, directory, privileges.
SHOW = "busybox cut -d' ' -f5,6,7 /proc/self/mountinfo; id; env; pwd; "
SHOW += "busybox grep -E '^(Cap|No)' /proc/$$/status"
TRACE = ["strace", "-f", "--detach-on=execve", "-e", "signal=none"]

STARTS = {
    "a name": ["-W", "--seccomp", "-c/mnt", "--set-env", "-bdata:/new/dir", "app"],
    "root in a tree": ["-u0", "-g0", "-t", "tree"],
    "a directory": ["-W", "--set-env=A=1", "--unset-env=L*", "./directory"],
    "a file": ["-W", "--set-env=A=1", "file"],
}
ERRORS = ("EPERM", "ENOENT")

# After these calls fail, the program can't hand over: it does not know yet where it is itself, or
# is at or after the first setns(2).
NO_WAY_BACK = {"readlinkat", "setns", "fchdir", "execve"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with images and accounts, a directory image, and a directory to bind."""
    place = tmp_path_factory.mktemp("place")
    storage = fill_storage(make_storage(place / "storage"))
    leave_accounts(storage, os.geteuid(), os.getegid())
    leave_accounts(storage, 0, 0)
    make_squashfs(make_image(place / "directory"), place / "file")
    (place / "data").mkdir()
    return place


def start(
    command: Path, place: Path, words: list[str], *strace: str | Path
) -> tuple[int, str, str]:
    """Run the probe, under ``strace`` if given; return status, output and messages."""
    done = subprocess.run(
        [*strace, command, *words, "--", "/bin/sh", "-c", SHOW],
        env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage")},
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def essential(output: str) -> set[str]:
    """Return the lines of the output without those of optional mounts."""
    optional = tuple(f"{os.fsdecode(path)} " for path in OPTIONAL_BINDS)
    return {line for line in output.splitlines() if not line.startswith(optional)}


@pytest.mark.matrix
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("case", STARTS)
def test_a_system_call_fails(compiled: Compiled, place: Path, case: str, error: str) -> None:
    if case == "a file" and not os.access(FUSE, os.R_OK | os.W_OK):
        skip_needs_root()
    words = STARTS[case]
    log = place / "log"
    status, expected, _ = start(compiled.command, place, words, *TRACE, "-o", log)
    assert status == 0
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.M)[1:])
    most: dict[str, int] = {}
    for (_, name), count in calls.items():
        most[name] = max(most.get(name, 0), count)
    for name in ("exit", "execve"):
        most[name] = name == "execve"
    assert sum(most.values()) > 50
    for name, count in most.items():
        for number in range(1, count + 1):
            inject = ["-e", f"inject={name}:error={error}:when={number}"]
            status, output, messages = start(
                compiled.command, place, words, *TRACE, *inject, "-o", log
            )
            what = (inject, status, output, messages, log.read_text()[-500:])
            if status == 0:
                assert essential(output) == essential(expected), what
                assert messages == "", what
            else:
                # The server, and the launcher in its place, are not executed either.
                is_command = name == "execve" and case != "a file"
                assert status == (49 if is_command else 31), what
                assert output == "", what
                assert name in NO_WAY_BACK, what
                assert len(messages.splitlines()) == 1, what
                assert ": error: " in messages, what


def test_nobody_can_be_asked(compiled: Compiled, place: Path) -> None:
    """A system call of the hand-over itself fails."""
    for name in ("execve", "readlinkat"):
        inject = ["-e", f"inject={name}:error=ENOENT"]
        status, output, messages = start(
            compiled.command, place, ["-v", "app"], *TRACE, *inject, "-o", place / "log"
        )
        assert (status, output) == (31, "")
        assert len(messages.splitlines()) == 1


def test_its_child_is_killed(compiled: Compiled, place: Path) -> None:
    """A signal kills the child at one of its system calls."""
    for name in ("unshare", "open_tree", "pivot_root", "exit"):
        inject = ["-e", f"inject={name}:signal=KILL"]
        status, output, messages = start(
            compiled.command, place, ["app"], *TRACE, *inject, "-o", place / "log"
        )
        assert status == 0, (name, messages)
        assert "CH_RUNNING=Weird Al Yankovic" in output
