"""Small shared objects, made byte by byte: names, needs and symbol versions, and no code."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

X86_64, AARCH64 = 62, 183


def elf(
    soname: str,
    *,
    needed: Sequence[str] = (),
    runpath: str = "",
    defined: Sequence[str] = (),
    wanted: Mapping[str, Sequence[str]] | None = None,
    machine: int = X86_64,
) -> bytes:
    """Return a shared object of 64 bits, little-endian."""
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text) - 1

    verdef = b""
    for index, version in enumerate((soname, *defined)):
        last = index == len(defined)
        verdef += struct.pack("<HHHHIII", 1, not index, index + 1, 1, 0, 20, 0 if last else 28)
        verdef += struct.pack("<II", name(version), 0)
    verneed = b""
    items = list((wanted or {}).items())
    for place, (file, versions) in enumerate(items):
        step = 0 if place == len(items) - 1 else 16 * (1 + len(versions))
        verneed += struct.pack("<HHIII", 1, len(versions), name(file), 16, step)
        for number, version in enumerate(versions):
            more = 0 if number == len(versions) - 1 else 16
            verneed += struct.pack("<IHHII", 0, 0, 2, name(version), more)
    tags = [(1, name(text)) for text in needed] + [(14, name(soname))]
    tags += [(29, name(runpath))] if runpath else []
    start = 64 + 2 * 56
    size = 16 * (len(tags) + 7)
    at_verdef = start + size
    at_verneed = at_verdef + len(verdef)
    at_strings = at_verneed + len(verneed)
    tags += [(5, at_strings), (10, len(strings)), (0x6FFFFFFC, at_verdef)]
    tags += [(0x6FFFFFFD, len(defined) + 1), (0x6FFFFFFE, at_verneed), (0x6FFFFFFF, len(items))]
    dynamic = b"".join([struct.pack("<qQ", *tag) for tag in tags]).ljust(size, b"\0")
    body = dynamic + verdef + verneed + bytes(strings)
    total = start + len(body)
    header = b"\x7fELF" + bytes([2, 1, 1]).ljust(12, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    programs = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, total, total, 4096)
    programs += struct.pack("<IIQQQQQQ", 2, 4, start, start, start, size, size, 8)
    return header + programs + body
