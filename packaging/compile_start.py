"""Compile ``native/`` for the wheel, if there is a C compiler: ``ch-run``, and the fast path.

Two variables of the environment control it:

* ``SUNDOG_COMPILE=no``: compile nothing; ``SUNDOG_COMPILE=MACHINE``: compile for that machine, for
  a release; unset: compile for this machine, if that is possible.
* ``CC``: the command of the compiler, perhaps with options.

This module imports nothing of ``sundog``: it runs while the package is built.
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
# The program is freestanding and static, at a fixed address.  It needs no C library.  The build is
# reproducible.
OPTIONS = (
    *("-std=c11", "-Os", "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-Wl,--build-id=none", "-s"),
)
# Code and constants share a page: a start has fewer page faults, and takes 3 % less CPU.  The
# compiler of the releases knows no such option.
LINKER_OPTIONS = ("-Wl,-z,noseparate-code",)
# The machines of native/kernel.h: the names of uname(2), and the numbers of elf.h.
MACHINES = {"x86_64": 62, "aarch64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}

# The platform tags of a release's wheel.  The program needs no C library, so these are the oldest
# tags that the tools know for the machine: PEP 600 and 656.
RELEASE_PLATFORMS = dict.fromkeys(MACHINES, ("manylinux_2_17", "musllinux_1_1"))
RELEASE_PLATFORMS["riscv64"] = ("manylinux_2_31", "musllinux_1_2")

# The library of the fast path.  It has its own layout, and no relocation of its own symbols.
LIBRARY_MACHINES = ("x86_64",)
LIBRARY_OPTIONS = (
    *("-std=c11", "-Os", "-ffreestanding", "-nostdlib", "-shared", "-fPIC", "-fvisibility=hidden"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none"),
    *("-fno-plt", "-s", "-Wl,-Bsymbolic", "-Wl,--hash-style=both", "-Wl,-z,norelro"),
    "-Wl,--build-id=none",
)

# How its parts at fixed addresses begin: native/fast_path/call.h and page.h.
LIBRARY_CONTENTS = {"FAST_PLACE": b"\x48\x89\xf8", "PAGE_PLACE": b"SUNDOG-FAST-PATH"}

PATIENCE = 300  # seconds; a compiler usually needs one
DECLINED = 31  # EXIT_RUN: the program declines, and it must not hand over


class NotCompiledError(Exception):
    """The program was not compiled; the text says why."""


def compile_start(root: Path, directory: Path, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Compile the checkout ``root`` into ``directory``; return the program and the wheel's tag.

    Raises NotCompiledError if the compilation fails or the program does not work.
    """
    choice = environ.get(CHOICE, "")
    if choice == "no":
        raise NotCompiledError(f"{CHOICE}=no")
    machine = choice or os.uname().machine
    if sys.platform != "linux" or machine not in MACHINES:
        raise NotCompiledError(f"not known on {machine}, {sys.platform}")
    compiler = find_compiler(environ)
    # A separate process imports the modules of the package.
    maker = [sys.executable, "-I", "-B", str(root / "packaging" / "native_header.py")]
    header = run([*maker, str(root / "src")], "generated.h")
    (directory / "generated.h").write_text(header.stdout, encoding="ascii")
    program = directory / "ch-run"
    source = root / "native" / "main.c"
    options = OPTIONS if choice else (*OPTIONS, *LINKER_OPTIONS)
    run([*compiler, *options, f"-I{directory}", str(source), "-o", str(program)], compiler[0])
    if elf_machine(program.read_bytes()) != MACHINES[machine]:
        raise NotCompiledError(f"{compiler[0]}: what it makes is no program for {machine}")
    if choice:  # this machine may be unable to run the program
        return program, release_tag(machine)
    attempt(program)
    return program, f"py3-none-linux_{machine}"


def compile_library(root: Path, directory: Path, environ: Mapping[str, str]) -> Path:
    """Compile the library of the fast path into ``directory``; return it.

    Raises NotCompiledError, also if there is none for the machine.
    """
    machine = environ.get(CHOICE) or os.uname().machine
    if machine not in LIBRARY_MACHINES:
        raise NotCompiledError(f"not known on {machine}")
    compiler = find_compiler(environ)
    maker = [sys.executable, "-I", "-B", str(root / "packaging" / "fast_path_header.py")]
    header = run([*maker, str(root / "src")], "fast_path_generated.h").stdout
    (directory / "fast_path_generated.h").write_text(header, encoding="ascii")
    defined = [line.split()[1:] for line in header.splitlines()]
    places = {words[0]: int(words[1]) for words in defined if words[0].endswith("_PLACE")}
    source, library = root / "native" / "fast_path", directory / "fast_path.so"
    linked = [f"-Wl,--defsym={name}={value}" for name, value in places.items()]
    linked.append(f"-Wl,-T,{source / 'layout.ld'}")
    words = [*compiler, *LIBRARY_OPTIONS, *linked, f"-I{directory}", str(source / "library.c")]
    run([*words, "-o", str(library)], compiler[0])
    made = library.read_bytes()
    if elf_machine(made) != MACHINES[machine]:
        raise NotCompiledError(f"{compiler[0]}: what it makes is no library for {machine}")
    for place, wanted in LIBRARY_CONTENTS.items():
        if not made[places[place] - places["LIBRARY_PLACE"] :].startswith(wanted):
            raise NotCompiledError(f"{compiler[0]}: it puts something else at {place}")
    return library


def find_compiler(environ: Mapping[str, str]) -> list[str]:
    """Return the command in ``CC``, or else the first compiler in ``PATH``."""
    if wanted := shlex.split(environ.get("CC", "")):
        return wanted
    for name in COMPILERS:
        if shutil.which(name, path=environ.get("PATH")):
            return [name]
    raise NotCompiledError("no C compiler")


def run(command: list[str], what: str) -> subprocess.CompletedProcess[str]:
    """Run a command; if it fails, raise NotCompiledError with the first line of its output."""
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
    """Return the machine of an ELF program: e_machine of elf(5); 0 if ``data`` is not ELF."""
    if len(data) < 20 or not data.startswith(b"\x7fELF"):
        return 0
    return int.from_bytes(data[18:20], "little" if data[5] == 1 else "big")


def attempt(program: Path) -> None:
    """Raise NotCompiledError unless the program runs here and declines a start without words."""
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
    """Return the tag of a wheel for all Linux distributions on a machine."""
    return "py3-none-" + ".".join(f"{name}_{machine}" for name in RELEASE_PLATFORMS[machine])
