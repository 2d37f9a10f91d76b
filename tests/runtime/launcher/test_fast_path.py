"""``ch-run --notify`` with the fast path inside programs: other containers, and its end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.container.fast_path import LIBRARY_NAME
from sundog.runtime.emulation.notify.seccomp.fast_path import LIBRARY_PLACE, MACHINES, PAGE_PLACE
from tests.conftest import state_of, until
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.test_notify_signals import (
    DEADLINE,
    is_dead,
    supervisor_and_command,
)
from tests.runtime.notify.conftest import PRELOAD, dynamic_programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["dynamic_programs"]

pytestmark = pytest.mark.skipif(
    os.uname().machine not in MACHINES, reason="the machine has no fast path"
)

FAST = ENVIRONMENT | {"SUNDOG_FAST_PATH": "yes"}
LIBRARY = f"run/{LIBRARY_NAME.decode()}"
SEQUENCE = PAGE_PLACE - LIBRARY_PLACE + 20  # the place of the word in the file
MAKE = "mkdir -p /w; cd /w; : >owned; chown 5:6 owned; "


@pytest.fixture
def tree(image: Path, dynamic_programs: Path) -> Path:
    """An image with programs that load the library, and others that don't."""
    shutil.copytree(dynamic_programs, image, dirs_exist_ok=True)
    return image


class Started:
    """A container that runs a script."""

    def __init__(
        self,
        installed: Path,
        tree: Path,
        script: str,
        options: Sequence[str] = (),
        *,
        env: Mapping[str, str] = FAST,
    ) -> None:
        preload = PRELOAD if env is FAST else ""
        self.process = subprocess.Popen(
            [installed, "--notify", "-W", *options, tree, "--", "sh", "-c", preload + script],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        assert self.first_line, self.process.communicate()
        self.supervisor, self.command = supervisor_and_command(self.process.pid)

    def end(self, text: str | None = None) -> tuple[int, str, str]:
        """Wait for the end; return status, output and messages."""
        output, errors = self.process.communicate(text, timeout=DEADLINE)
        return self.process.returncode, output, errors


def run(
    installed: Path, tree: Path, *words: str, env: Mapping[str, str] = FAST
) -> subprocess.CompletedProcess[str]:
    preload = PRELOAD if env is FAST else ""
    return subprocess.run(
        [installed, "--notify", "-W", *words[:-1], tree, "--", "sh", "-c", preload + words[-1]],
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_no_program_of_another_container_reaches_the_page(installed: Path, tree: Path) -> None:
    """It sees the processes, and can neither trace them nor get their memory or their files."""
    other = Started(installed, tree, f"{MAKE} exec misuse hold")
    done = run(installed, tree, f"{MAKE} misuse reach {other.first_line.strip()}; stat -c %u owned")
    assert (done.stdout, done.stderr) == ("done\n5\n", "")
    assert other.end("\n") == (0, "5:6\ndone\n", "")


def test_the_page_is_below_no_path_that_can_be_bound(installed: Path, tree: Path) -> None:
    """Neither the directory below it, nor the root of a process has the library for others."""
    run_directory = tree.parent / "run"
    run_directory.mkdir()
    shown = Started(installed, tree, f"{MAKE} exec misuse hold")
    bound = Started(
        installed, tree, f"{MAKE} ls -A /run | wc -l; read line", (f"-b{run_directory}:/run",)
    )
    assert bound.first_line == "0\n"
    assert os.listdir(run_directory) == []
    root = f"/proc/{shown.command}/root"
    assert os.path.exists(f"{root}/{LIBRARY}")
    for source in (f"{root}/run", f"{root}/{LIBRARY}", root):
        done = run(installed, tree, f"-b{source}:/mnt", "ls -A /mnt")
        assert (done.returncode, done.stdout) == (31, "")
        assert f"error: can't bind {source}: Permission denied" in done.stderr
    assert str(tree.parent) not in Path("/proc/self/mountinfo").read_text()
    assert bound.end("\n") == (0, "", "")
    assert shown.end("\n") == (0, "5:6\ndone\n", "")


def stop_while_it_makes_a_record(container: Started) -> None:
    """Stop the supervisor when the page tells that it may be making a record."""
    with open(f"/proc/{container.command}/root/{LIBRARY}", "rb") as library:

        def makes() -> bool:
            os.kill(container.supervisor, signal.SIGSTOP)
            until(lambda: state_of(container.supervisor) == "T")
            (sequence,) = struct.unpack("=I", os.pread(library.fileno(), 4, SEQUENCE))
            if not sequence & 1:
                os.kill(container.supervisor, signal.SIGCONT)
            return bool(sequence & 1)

        until(makes)


def processes_in(tree: Path) -> list[str]:
    """Return the processes that have mounts of an image."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(tree) in (process / "mountinfo").read_text(errors="replace"):
                found.append(process.name)
        except OSError:
            continue  # it has just ended, or is another user's
    return found


RECORDING = f"{MAKE} (while :; do hurried reuse 100 2>&1 >/dev/null; done) & echo; wait"


@pytest.mark.parametrize("moment", ["while it makes a record", *range(3)])
def test_a_killed_supervisor_leaves_nothing(installed: Path, tree: Path, moment: str | int) -> None:
    container = Started(installed, tree, RECORDING)
    if isinstance(moment, str):
        stop_while_it_makes_a_record(container)
    else:
        time.sleep(random.Random(moment).uniform(0, 0.2))
    assert processes_in(tree)
    os.kill(container.supervisor, signal.SIGKILL)
    status, _, errors = container.end()
    assert status == 31
    assert [line.partition("]: ")[2] for line in errors.splitlines()] == [
        "error: the supervisor died, and the container with it",
        "hint: if nobody killed it, the machine may be out of memory: see dmesg",
    ]
    until(lambda: is_dead(container.command) and not processes_in(tree))
    assert str(tree.parent) not in Path("/proc/self/mountinfo").read_text()
    assert not (tree / "w").exists()


def test_the_processes_of_a_group_share_the_page(installed: Path, tree: Path) -> None:
    """The first one mounts it; each other process has the library, if it wants to."""
    group = f"--join-tag=fast-{tree.parent.name}-{os.getpid()}"
    first = Started(installed, tree, f"{MAKE} : >plain; exec misuse hold", (group,))
    in_w = "cd /w; hurried loaded; stat -c %u:%g owned"
    done = run(installed, tree, group, f"{in_w}; hurried calls 20; chown 7:8 owned")
    assert (done.stdout, done.stderr) == ("loaded\n5:6\nok\n", "")
    done = run(installed, tree, group, "-u104", "-g106", "cd /w; misuse refused; id -u")
    assert (done.stdout, done.stderr) == ("done\n104\n", "")
    done = run(installed, tree, group, in_w, env=ENVIRONMENT)
    assert (done.stdout, done.stderr) == ("not loaded\n7:8\n", "")
    direct: list[str | Path] = [installed, "--notify", group, tree, "--", "hurried", "loaded"]
    for env, loaded in ((FAST, b"loaded\n"), (ENVIRONMENT, b"not loaded\n")):
        assert subprocess.run(direct, env=env, capture_output=True, check=True).stdout == loaded
    assert first.end("\n") == (0, "7:8\ndone\n", "")
    alone: list[str | Path] = [installed, "--notify", f"{group}-2", tree]
    alone += ["--", "hurried", "loaded"]
    assert subprocess.run(alone, env=FAST, capture_output=True, check=True).stdout == b"loaded\n"


def test_a_group_without_the_library_gives_it_to_nobody(installed: Path, tree: Path) -> None:
    group = f"--join-tag=plain-{tree.parent.name}-{os.getpid()}"
    first = Started(installed, tree, "echo; read line", (group,), env=ENVIRONMENT)
    done = subprocess.run(
        [installed, "--notify", group, tree, "--", "hurried", "loaded"],
        env=FAST,
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"not loaded\n", b"")
    assert first.end("\n") == (0, "", "")
