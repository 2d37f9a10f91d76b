"""Emulators of other machines: the trial, the registration, and what a program can do with it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.container.binfmt import needed_emulator
from sundog.runtime.process.emulator import MACHINES, foreign_machine, trial_program
from tests.conftest import base_image

if TYPE_CHECKING:
    from pathlib import Path

# Registers the emulator of the first argument, and executes the others in a namespace below.
REGISTERED = """
import os, sys
from sundog.runtime.container.binfmt import Emulator
from sundog.runtime.container.enter import enter_namespaces
uid, gid = os.getuid(), os.getgid()
enter_namespaces(0, 0)
kept = Emulator("aarch64", os.fsencode(sys.argv[1])).open().register()
enter_namespaces(uid, gid)
"""


@pytest.mark.parametrize("machine", MACHINES)
def test_each_machine_runs(machine: str) -> None:
    """A tiny program of each runs, by the kernel or by QEMU; the exit status is the proof."""
    foreign = foreign_machine(trial_program(machine))
    emulator = needed_emulator(machine, {b"PATH": os.environb[b"PATH"]})
    assert foreign == ("" if machine in ("x86_64", "i386") else machine)
    assert (emulator is None) == (not foreign)


def inside(program: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of Python below a namespace with an emulator."""
    return subprocess.run(
        [sys.executable, "-c", REGISTERED + program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_emulator_can_not_be_overwritten(tmp_path: Path) -> None:
    """A program of the image can reach the user's own emulator, and not write to it."""
    found = shutil.which("qemu-aarch64")
    assert found is not None, "as root: apt-get install qemu-user"
    own = tmp_path / "a qemu: of its own"
    shutil.copy(found, own)
    subprocess.run(
        ["tar", "-C", tmp_path, "-xf", base_image("busybox-arm64"), "bin/busybox"], check=True
    )
    program = """
import errno
child = os.posix_spawn(sys.argv[2], ["sleep", "60"], {})
path = f"/proc/{child}/exe"
print(os.readlink(path))
for flags in (os.O_WRONLY | os.O_TRUNC, os.O_RDWR):
    try:
        os.open(path, flags)
    except OSError as error:
        print(errno.errorcode[error.errno])
held = os.open(path, os.O_PATH)
os.kill(child, 9)
os.waitpid(child, 0)
os.close(kept)
try:
    os.open(f"/proc/self/fd/{held}", os.O_WRONLY)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    done = inside(program, own, tmp_path / "bin/busybox")
    assert done.stdout.split("\n") == ["/", "EROFS", "ETXTBSY", "EROFS", ""], done.stderr
    with own.open("r+b"):  # the file itself is as writable as before
        pass


def test_the_registration_ends_with_its_descriptor(tmp_path: Path) -> None:
    found = shutil.which("qemu-aarch64")
    assert found is not None, "as root: apt-get install qemu-user"
    (tmp_path / "program").write_bytes(trial_program("aarch64"))
    (tmp_path / "program").chmod(0o755)
    program = """
def status():
    try:
        return os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(sys.argv[2], ["x"], {}), 0)[1])
    except OSError as error:
        return -error.errno
before = status()
os.close(kept)
print(before, status())
"""
    done = inside(program, found, tmp_path / "program")
    assert done.stdout == f"0 {-errno.ENOEXEC}\n", done.stderr
