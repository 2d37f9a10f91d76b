"""What the dynamic linker looks at in a shared library: for which machine it is, and its name.

Specification: System V ABI, chapters 4 and 5 (elf(5)); glibc's ldconfig.h for the flags of its
cache.  Any file may be given: all reads have bounds, and a file that is not a library gives None.

Floor 0.
"""

import os
from _struct import Struct

ELF_MAGIC = b"\x7fELF"
ELF_HEADER_SIZE = 64
HEAD_SIZE = 4096  # in bytes: most files have their program headers there
PT_LOAD, PT_DYNAMIC = 1, 2
SHT_NOTE = 7
DT_NULL, DT_STRTAB, DT_SONAME = 0, 5, 14
ET_DYN = 3
EM_386, EM_PPC64, EM_S390, EM_ARM, EM_X86_64, EM_AARCH64, EM_RISCV = 3, 21, 22, 40, 62, 183, 243

HEADERS_LIMIT = 1 << 16  # in bytes: of the program headers, of the section headers, of a section
DYNAMIC_LIMIT = 1 << 16
NAME_LIMIT_OF_LIBRARY = 256

# How glibc's cache marks a library: by machine and word size.  All have FLAG_ELF_LIBC6 (3).
CACHE_FLAGS = {
    (EM_386, 32): 0x0003,
    (EM_X86_64, 64): 0x0303,
    (EM_X86_64, 32): 0x0803,
    (EM_AARCH64, 64): 0x0A03,
    (EM_ARM, 32): 0x0903,
    (EM_PPC64, 64): 0x0503,
    (EM_S390, 64): 0x0403,
    (EM_RISCV, 64): 0x1003,
}


class ElfLayout:
    """The structures of one word size and byte order.

    file_header     type, machine, then the offsets of the headers, and their sizes and numbers
    segment         a program header
    segment_fields  the places of offset, address and size in file in it
    section         a section header
    dynamic         an entry of the dynamic section
    """

    __slots__ = ("dynamic", "file_header", "section", "segment", "segment_fields")

    def __init__(self, bits: int, order: str) -> None:
        word = "Q" if bits == 64 else "I"
        self.file_header = Struct(f"{order}16xHH4x{word}{word}{word}4x2xHHHHH")
        if bits == 64:
            self.segment = Struct(order + "IIQQQQQQ")
            self.segment_fields = (2, 3, 5)
        else:
            self.segment = Struct(order + "IIIIIIII")
            self.segment_fields = (1, 2, 4)
        # name, type, flags, address, offset, size, link, info, alignment, size of an entry
        self.section = Struct(f"{order}II{word}{word}{word}{word}II{word}{word}")
        self.dynamic = Struct(order + ("qQ" if bits == 64 else "iI"))


LAYOUTS: dict[bytes, ElfLayout] = {}


class Library:
    """A shared library.

    soname  its name for programs that were linked with it, or b""
    flags   how glibc's cache marks it
    """

    __slots__ = ("flags", "soname")

    def __init__(self, soname: bytes, flags: int) -> None:
        self.soname = soname
        self.flags = flags


def read_library(fd: int) -> Library | None:
    """Return what the open file is, or None if it is not a shared library for a known machine."""
    try:
        head = os.pread(fd, HEAD_SIZE, 0)
        layout = elf_layout(head)
        if layout is None:
            return None
        kind, machine, _, places, _, size, number, *_ = layout.file_header.unpack_from(head)
        flags = CACHE_FLAGS.get((machine, 64 if head[4] == 2 else 32))
        if kind != ET_DYN or flags is None or size < layout.segment.size:
            return None
        segments = read_headers(fd, head, places, size * number)
        return Library(read_soname(fd, segments, size, layout), flags)
    except OSError:
        return None


def elf_layout(head: bytes) -> ElfLayout | None:
    """Return the layout of the file that begins with ``head``; None if it is not an ELF file."""
    kind = head[4:6]
    if head[:4] != ELF_MAGIC or len(head) < ELF_HEADER_SIZE or not set(kind) <= {1, 2}:
        return None
    if kind not in LAYOUTS:
        LAYOUTS[kind] = ElfLayout(64 if kind[0] == 2 else 32, "<" if kind[1] == 1 else ">")
    return LAYOUTS[kind]


def read_headers(fd: int, head: bytes, place: int, size: int) -> bytes:
    """Return ``size`` bytes at ``place``, from ``head`` if they are there."""
    if size > HEADERS_LIMIT or place >= 1 << 63:
        return b""
    return head[place : place + size] if place + size <= len(head) else os.pread(fd, size, place)


def read_soname(fd: int, segments: bytes, step: int, layout: ElfLayout) -> bytes:
    """Return the library's DT_SONAME, or b""."""
    where, address, length = layout.segment_fields
    loaded: list[tuple[int, int, int]] = []
    dynamic = b""
    for at in range(0, len(segments) - layout.segment.size + 1, step):
        fields = layout.segment.unpack_from(segments, at)
        place = fields[where], fields[address], fields[length]
        if max(place) >= 1 << 63:
            continue
        if fields[0] == PT_LOAD:
            loaded.append(place)
        elif fields[0] == PT_DYNAMIC:
            dynamic = os.pread(fd, min(place[2], DYNAMIC_LIMIT), place[0])
    entries: dict[int, int] = {}
    usable = len(dynamic) // layout.dynamic.size * layout.dynamic.size
    for tag, value in layout.dynamic.iter_unpack(dynamic[:usable]):
        if tag == DT_NULL:
            break
        entries.setdefault(tag, value)
    if DT_SONAME not in entries or DT_STRTAB not in entries:
        return b""
    strings = entries[DT_STRTAB]
    for offset, start, size in loaded:
        if start <= strings < start + size and entries[DT_SONAME] < size:
            name = os.pread(
                fd, NAME_LIMIT_OF_LIBRARY, offset + strings - start + entries[DT_SONAME]
            )
            soname, end, _ = name.partition(b"\0")
            return soname if end and b"/" not in soname else b""
    return b""


def read_note(fd: int, name: bytes, owner: bytes) -> bytes | None:
    """Return the description of the note of ``owner`` in the section ``name``, or None."""
    try:
        head = os.pread(fd, ELF_HEADER_SIZE, 0)
        layout = elf_layout(head)
        if layout is None:
            return None
        fields = layout.file_header.unpack_from(head)
        place, size, number, names_at = fields[4], *fields[7:10]
        if size < layout.section.size:
            return None
        headers = read_headers(fd, b"", place, size * number)
        sections = [
            layout.section.unpack_from(headers, at)
            for at in range(0, len(headers) - layout.section.size + 1, size)
        ]
        if names_at >= len(sections):
            return None
        names = read_headers(fd, b"", sections[names_at][4], sections[names_at][5])
        for section in sections:
            if section[1] == SHT_NOTE and names[section[0] :].partition(b"\0")[0] == name:
                data = read_headers(fd, b"", section[4], section[5])
                return note_description(data, owner, "<" if head[5] == 1 else ">")
    except OSError:
        return None
    return None


def note_description(data: bytes, owner: bytes, order: str) -> bytes | None:
    """Return the description of the first note if it belongs to ``owner``, or None."""
    head = Struct(order + "III")
    if len(data) < head.size:
        return None
    name_size, size, _ = head.unpack_from(data)
    name = data[head.size : head.size + name_size]
    start = head.size + (name_size + 3) // 4 * 4
    if name.rstrip(b"\0") != owner or len(data) < start + size:
        return None
    return data[start : start + size]
