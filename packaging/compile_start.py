"""Compile ``native/``, the program ``ch-run``, for the wheel, where a compiler can.

The environment says what is wanted:

* ``SUNDOG_COMPILE=no``: nothing; ``SUNDOG_COMPILE=MACHINE``: the program for that machine, for a
  release; unset: the program for this machine, if it can be made.
* ``CC``: the compiler, with options of its own.

Imports nothing of ``sundog``: it runs while that is built.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHOICE = "SUNDOG_COMPILE"
COMPILERS = ("cc", "gcc", "clang")
# Freestanding and static: no C library is linked, at a fixed address, and no two builds differ.
OPTIONS = (
    *("-std=c11", "-O2", "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-Wl,--build-id=none", "-s"),
)
# The machines that native/kernel.h knows, as uname(2) names them, with their numbers in elf.h.
MACHINES = {"x86_64": 62, "aarch64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}

# What a wheel of a release is for.  The program needs nothing of a C library; so these are the
# oldest that the tools know for the machine: PEP 600 and 656.
RELEASE_PLATFORMS = dict.fromkeys(MACHINES, ("manylinux_2_17", "musllinux_1_1"))
RELEASE_PLATFORMS["riscv64"] = ("manylinux_2_31", "musllinux_1_2")

PATIENCE = 300  # seconds for a compiler; it takes one
DECLINED = 31  # the exit status of the program that may not hand over: EXIT_RUN


class NotCompiledError(Exception):
    """There is no program; the text says why."""


def compile_start(root: Path, directory: Path, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Make the program from the checkout ``root`` in ``directory``; return it and the wheel's tag.

    Raises NotCompiledError where it cannot be made or does not work.
    """
    choice = environ.get(CHOICE, "")
    if choice == "no":
        raise NotCompiledError(f"{CHOICE}=no")
    machine = choice or os.uname().machine
    if sys.platform != "linux" or machine not in MACHINES:
        raise NotCompiledError(f"not known on {machine}, {sys.platform}")
    compiler = find_compiler(environ)
    # The modules of the package are imported by a process of its own.
    maker = [sys.executable, "-I", "-B", str(root / "packaging" / "native_header.py")]
    header = run([*maker, str(root / "src")], "generated.h")
    (directory / "generated.h").write_text(header.stdout, encoding="ascii")
    program = directory / "ch-run"
    source = root / "native" / "main.c"
    run([*compiler, *OPTIONS, f"-I{directory}", str(source), "-o", str(program)], compiler[0])
    if elf_machine(program.read_bytes()) != MACHINES[machine]:
        raise NotCompiledError(f"{compiler[0]}: what it makes is no program for {machine}")
    if choice:  # perhaps it can't run here
        return program, release_tag(machine)
    attempt(program)
    return program, f"py3-none-linux_{machine}"


def find_compiler(environ: Mapping[str, str]) -> list[str]:
    """Return the command of the compiler that ``CC`` names, or else of one in ``PATH``."""
    if wanted := shlex.split(environ.get("CC", "")):
        return wanted
    for name in COMPILERS:
        if shutil.which(name, path=environ.get("PATH")):
            return [name]
    raise NotCompiledError("no C compiler")


def run(command: list[str], what: str) -> subprocess.CompletedProcess[str]:
    """Run a command; raise NotCompiledError with what it said first if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"{what}: {error}") from None
    if done.returncode:
        said = (done.stderr + done.stdout).splitlines() or [f"exit status {done.returncode}"]
        raise NotCompiledError(f"{what}: {said[0]}")
    return done


def elf_machine(data: bytes) -> int:
    """Return the number of the machine that an ELF program is for: elf(5), e_machine; 0 if none."""
    if len(data) < 20 or not data.startswith(b"\x7fELF"):
        return 0
    return int.from_bytes(data[18:20], "little" if data[5] == 1 else "big")


def attempt(program: Path) -> None:
    """Raise NotCompiledError unless the program runs here, and says that it declines nothing."""
    environ = {"PATH": os.defpath, "SUNDOG_START": "compiled"}
    try:
        done = subprocess.run(
            [program], env=environ, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"it does not run: {error}") from None
    if done.returncode != DECLINED or b"declined: " not in done.stderr:
        raise NotCompiledError(f"it does not work: exit status {done.returncode}")


def release_tag(machine: str) -> str:
    """Return the tag of a wheel for every Linux on a machine."""
    return "py3-none-" + ".".join(f"{name}_{machine}" for name in RELEASE_PLATFORMS[machine])
