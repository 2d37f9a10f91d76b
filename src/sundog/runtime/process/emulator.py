"""Emulators of other machines, each for one program: QEMU's user mode.

A machine has QEMU's name for it here; that of an ABI in ``kernel.numbers`` is the same.  The
emulator must be one file: its dynamic loader and its libraries would come from the image.
"""

from __future__ import annotations

import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.numbers import ABIS
from sundog.base.record.magic import ELF_MAGIC
from sundog.errors import SundogError
from sundog.runtime.process.executable import expected_failure, loaded_program
from sundog.runtime.process.last_step import STEP_KINDS, elf_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

_VARIABLE = b"CH_QEMU"
_PREFIX, _SUFFIX = b"qemu-", b"-static"

# Machine → e_machine, e_flags, and the bytes of an address.
_KINDS = {**STEP_KINDS, "mips64el": (8, 0x80000007, 8)}
_BIG_ENDIAN = frozenset({"s390x"})
# Machine → the code that calls exit(0).
_EXITS = {
    "x86_64": "31ff6a3c580f05",
    "i386": "31db6a0158cd80",
    "aarch64": "000080d2a80b80d2010000d4",
    "arm": "0000a0e30170a0e3000000ef",
    "ppc64le": "000060380100003802000044",
    "s390x": "a72900000a010707",
    "riscv64": "130500009308d00573000000",
    "loongarch64": "040015000b74810300002b00",
    "mips64el": "25200000c21302240c000000",
}
MACHINES = tuple(_EXITS)

# Fields of an ELF file: its identity has this many bytes that tell class, byte order and version.
_TOLD, _IDENTITY = 7, 16
_EXECUTABLE = 2  # e_type: ET_EXEC, which differs from ET_DYN in one bit


def foreign_machine(head: bytes) -> str:
    """Return the other machine whose program begins with ``head``; "" if there is none."""
    own = ABIS.get(os.uname().machine, ())
    for machine in _KINDS:
        magic, mask = elf_pattern(machine)
        if machine not in own and len(head) >= len(magic):
            found = bytes(byte & bits for byte, bits in zip(head, mask, strict=False))
            if found == magic:
                return machine
    return ""


def elf_pattern(machine: str) -> tuple[bytes, bytes]:
    """Return how the programs of a machine begin, and a mask of the bits that count."""
    order, (number, _, width) = _order(machine), _KINDS[machine]
    told = ELF_MAGIC + bytes([width // 4, 1 if order == "little" else 2, 1])
    magic = told.ljust(_IDENTITY, b"\0")
    mask = (b"\xff" * _TOLD).ljust(_IDENTITY, b"\0")
    return (
        magic + _EXECUTABLE.to_bytes(2, order) + number.to_bytes(2, order),
        mask + 0xFFFE.to_bytes(2, order) + b"\xff\xff",
    )


def trial_program(machine: str) -> bytes:
    """Return a program of a machine that exits with the status 0."""
    return elf_program(_KINDS[machine], _order(machine), bytes.fromhex(_EXITS[machine]))


def find_emulator(machine: str, environment: Mapping[bytes, bytes]) -> bytes:
    """Return the path of the emulator of a machine; b"" if there is none.

    It is the file that $CH_QEMU names, or in the directory that $CH_QEMU names, or in one of $PATH.
    Raises SundogError if those that are there are of no use.
    """
    fault = ""
    for path in _candidates(machine, environment):
        fault = _fault(path)
        if not fault:
            return os.path.realpath(path)
    if not fault:
        return b""
    raise SundogError(
        f"can't emulate {machine}: {fault}",
        f"install a static qemu-{machine} (package qemu-user-static), or name one: $CH_QEMU",
    )


def _candidates(machine: str, environment: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the files that may be the emulator."""
    given = environment.get(_VARIABLE, b"")
    if given and not os.path.isdir(given):
        yield given
        return
    name = _PREFIX + machine.encode()
    places = [given] if given else environment.get(b"PATH", b"").split(b":")
    for place in filter(None, places):
        for path in (place + b"/" + name, place + b"/" + name + _SUFFIX):
            if os.path.exists(path):
                yield path


def _fault(path: bytes) -> str:
    """Say why the file is no static program of this machine; "" if it is one."""
    number = expected_failure(path)
    if number:
        return f"{printable(path)}: {os.strerror(number)}"
    program, loader = loaded_program(path)
    if program != path or loader:
        return f"{printable(path)} is no static program, and images lack what it needs"
    return ""


def _order(machine: str) -> Literal["little", "big"]:
    return "big" if machine in _BIG_ENDIAN else "little"
