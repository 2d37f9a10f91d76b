"""A command that changes as soon as somebody looks at it, and an image that takes what it gets.

strace holds each execve(2) back, so that the change comes before it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sundog.runtime.process.executable import dynamic_loader
from tests.runtime.launcher.compiled import FREESTANDING, NATIVE, write_header
from tests.runtime.launcher.conftest import ENVIRONMENT, make_image

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_OPEN = 0x20  # inotify(7)
RENAME_EXCHANGE = 2
HELD_BACK = 300_000  # microseconds
# Prints each program of another process in the container that can be looked at.
WATCHER = """
echo ready
while :; do
    for process in /proc/[0-9]*; do
        exe=$(readlink $process/exe) && case $exe in */busybox | "") ;; *) echo "SEEN $exe" ;; esac
    done 2>/dev/null
done
"""


@dataclass
class Trap:
    """An image with the command ``tgt``, and what becomes of it as soon as somebody opens it."""

    image: Path
    log: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def arm(self, directory: Path, other: str | bytes = "/proc/self/exe") -> None:
        """Exchange ``tgt`` for a link, or for another program, when it is opened."""
        if isinstance(other, str):
            (directory / "other").symlink_to(other)
        else:
            (directory / "other").write_bytes(other)
            (directory / "other").chmod(0o755)
        libc = ctypes.CDLL(None, use_errno=True)
        events = libc.inotify_init1(os.O_CLOEXEC)
        target = os.fsencode(directory / "tgt")
        assert libc.inotify_add_watch(events, target, IN_OPEN) > 0

        def spring() -> None:
            os.read(events, 4096)
            other = os.fsencode(directory / "other")
            assert libc.renameat2(-100, target, -100, other, RENAME_EXCHANGE) == 0
            os.close(events)

        threading.Thread(target=spring, daemon=True).start()

    def start(self, *words: str | Path, **env: str) -> subprocess.Popen[bytes]:
        """Start a program whose output goes to the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                words, env=ENVIRONMENT | env, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/"
            )
        self.started.append(process)
        return process

    def held(self, *words: str | Path, **env: str) -> subprocess.Popen[bytes]:
        """Start a program whose execve(2) are held back, and those of its children."""
        calls = "execve,execveat"
        delay = f"inject={calls}:delay_enter={HELD_BACK}"
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", delay]
        return self.start(*strace, *words, **env)

    def sprung(self, directory: Path) -> None:
        """Assert that the command has changed, and that nobody has got hold of anything."""
        assert (directory / "other").read_bytes()[:4] == b"\x7fELF", self.log.read_text()
        found = self.log.read_text()
        assert "LOADED" not in found, found
        seen = {line for line in found.splitlines() if line.startswith("SEEN")}
        assert seen <= {"SEEN /memfd:ch-run (deleted)"}, found


@contextmanager
def set_trap(place: Path) -> Iterator[Trap]:
    """Make the image, whose dynamic loader tells what it has got; end what was started."""
    image = make_image(place / "image")
    name = dynamic_loader(Path(sys.executable).resolve().read_bytes()[:4096])
    assert name
    path = image / os.fsdecode(name)[1:]
    path.parent.mkdir(parents=True)
    source = Path(__file__).with_name("loader.c")
    include = [f"-I{write_header(place)}", f"-I{NATIVE}"]
    subprocess.run(["gcc", *FREESTANDING, *include, source, "-o", path], check=True)
    shutil.copy(image / "bin/busybox", image / "bin/tgt")
    trap = Trap(image, place / "log")
    trap.log.touch()
    try:
        yield trap
    finally:
        for process in trap.started:
            process.kill()
            process.communicate()
