"""A machine of another architecture, which QEMU emulates: `make vm-test ARCH=aarch64`.

Other runs do not collect these tests.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from scripts.vm import foreign_files
from scripts.vm.image import USER
from scripts.vm.machine import Machine

from tests.runtime.notify.record import ENVIRONMENT, as_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.vm.machine import Done

KIND = os.environ.get("SUNDOG_MACHINES_KIND", "")
collect_ignore_glob = [] if KIND else ["test_*.py"]
PATIENCE = 900.0  # seconds for a command: all machines share busy cores
HOME = PurePosixPath("/home", USER)
# What real root runs in, and what it copies for each script.
TREE, COPY = Path("/srv/tree"), Path("/srv/copy")


@dataclass(frozen=True)
class Guest:
    """The machine, and how its ordinary user and its root run commands."""

    machine: Machine
    boot: float

    def run(self, *words: str, text: str = "", check: bool = True) -> Done:
        """Run a command as the ordinary user, in his home."""
        env = {"HOME": str(HOME), "USER": USER, "PATH": f"{foreign_files.SUNDOG}/bin:/usr/bin:/bin"}
        return self.machine.run(
            *words, user=USER, env=env, cwd=str(HOME), text=text, check=check, timeout=PATIENCE
        )

    def build(self, mode: str, dockerfile: str, *options: str) -> Done:
        """Build an image, whose name is the mode; there must be a context directory."""
        words = ("ch-image", "build", f"--force={mode}", *options, "-t", mode, "-f", "-", "context")
        return self.run(*words, text=dockerfile)

    def as_root(self, script: str) -> str:
        """Return what a script prints if real root runs it in a copy of the base image."""
        self.machine.run("sh", "-c", f"rm -rf {COPY}; cp -a {TREE} {COPY}", timeout=PATIENCE)
        return self.machine.run(*as_root(COPY, script), env=ENVIRONMENT, timeout=PATIENCE).stdout

    def under_notify(self, script: str, *options: str) -> str:
        """Return what a script prints in the tests' sandbox, under a supervisor with options."""
        tree = HOME / "copy"
        self.run("sh", "-c", f"chmod -R u+rwX {tree}; rm -rf {tree}; cp -a {HOME}/tree {tree}")
        python = f"{foreign_files.SUNDOG}/bin/python3"
        root = f"--root={tree}:{HOME}/owners"
        sandbox = (python, "-m", "tests.runtime.notify.sandbox", root, *options, "--")
        self.run("rm", "-f", f"{HOME}/owners")
        return self.machine.run(
            *(*sandbox, "sh", "-c", script),
            user=USER,
            env={"HOME": str(HOME)},
            cwd=str(foreign_files.TESTS),
            timeout=PATIENCE,
        ).stdout


def unpacked(tree: Path | PurePosixPath) -> str:
    """Return the script that unpacks the base image, and adds the test programs."""
    base, programs = foreign_files.BUSYBOX, foreign_files.PROGRAMS
    return f"mkdir -p {tree} && tar -C {tree} -xpf {base} && cp {programs}/* {tree}/bin"


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    # The paths of Unix sockets are short.
    directory = tmp_path_factory.getbasetemp().parent / "vm"
    image, files = foreign_files.given(Path(os.environ["SUNDOG_MACHINES"]), KIND)
    started = time.monotonic()
    machine = Machine.start(image, directory, name=KIND, files=files)
    try:
        guest = Guest(machine, time.monotonic() - started)
        # Debian's kernel sets it.  The emulation leaves it out of account.
        machine.run("sh", "-c", "echo 0 >/proc/sys/fs/protected_symlinks", timeout=PATIENCE)
        # The sandbox shows the machine's own; there is no network, and no udev.
        links = "for n in 0,stdin 1,stdout 2,stderr; do ln -s fd/${n%,*} /dev/${n#*,}; done"
        made = f"touch /etc/resolv.conf; ln -s /proc/self/fd /dev/fd; {links}"
        machine.run("sh", "-c", made, timeout=PATIENCE)
        machine.run("sh", "-c", unpacked(TREE), timeout=PATIENCE)
        machine.run("chroot", str(TREE), "/bin/ifconfig", "lo", "up", timeout=PATIENCE)
        guest.run(
            "sh", "-c", f"{unpacked(HOME / 'tree')} && mkdir context && echo hello >context/f"
        )
        guest.run("ch-image", "import", str(foreign_files.BUSYBOX), "base")
        yield guest
    finally:
        machine.stop()
