"""ELF files: what their headers say, within bounds.

The file may be an image's, so it may be damaged or hostile: the reader believes no number without a
bound.  The dynamic linker needs only the program headers; section headers may be missing.

Specification: System V ABI, chapters 4 and 5 (elf(5)).
"""

from __future__ import annotations

import os

from sundog.base.cpython import Struct
from sundog.base.record.magic import ELF_MAGIC

ELF_HEADER_SIZE = 64
_HEAD_SIZE = 4096  # in bytes: most files have their program headers there
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_SHT_NOTE = 7
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_SONAME = 0, 1, 5, 10, 14

_HEADERS_LIMIT = 1 << 16  # in bytes: of the program headers, of the section headers, of a section
_NAME_LIMIT = 255  # bytes: NAME_MAX
_DYNAMIC_LIMIT = 1 << 15  # in bytes
_FILE_OFFSET_LIMIT = 1 << 48
_TABLE_LIMIT = 64 << 20  # bytes of strings; names and bookkeeping of the largest MPIs take 5
TABLE_NAME_LIMIT = 4096
NAME_BYTES_LIMIT = 1 << 18  # of all names that are read from a file
_NAMES_READ_LIMIT = 4096


class ElfError(Exception):
    """A file is no ELF file that this module can read, or is damaged."""


class ElfLayout:
    """The structures of one word size and byte order.

    bits, order     as in ``ElfFile.machine``
    prefix          how the byte order is written in a format of ``struct``
    file_header     type, machine, entry, then the places of the headers, their sizes and numbers
    segment         a program header
    segment_fields  the places of offset, address and size in file in it
    section         a section header
    dynamic         an entry of the dynamic section
    """

    __slots__ = (
        "bits",
        "dynamic",
        "file_header",
        "order",
        "prefix",
        "section",
        "segment",
        "segment_fields",
    )

    def __init__(self, bits: int, order: str) -> None:
        self.bits = bits
        self.order = order
        prefix = self.prefix = "<" if order == "little" else ">"
        word = "Q" if bits == 64 else "I"
        self.file_header = Struct(f"{prefix}16xHH4x{word}{word}{word}4x2xHHHHH")
        if bits == 64:
            self.segment = Struct(prefix + "IIQQQQQQ")
            self.segment_fields = (2, 3, 5)
        else:
            self.segment = Struct(prefix + "IIIIIIII")
            self.segment_fields = (1, 2, 4)
        # name, type, flags, address, offset, size, link, info, alignment, size of an entry
        self.section = Struct(f"{prefix}II{word}{word}{word}{word}II{word}{word}")
        self.dynamic = Struct(prefix + ("qQ" if bits == 64 else "iI"))


_LAYOUTS: dict[bytes, ElfLayout] = {}


class ElfFile:
    """A program or a shared object.

    machine     ``e_machine``, the class in bits, and the byte order: what must be equal in one
                process
    is_program  whether it is a program that is loaded at a fixed address, and no library
    soname      DT_SONAME: the name for programs that were linked with it; b"" if it has none, or
                one that is no name of a file
    dynamic     the dynamic section: tag → value, without DT_NEEDED
    needed_at   the values of DT_NEEDED, in order
    """

    __slots__ = (
        "_bytes_left",
        "_fd",
        "_names_left",
        "_sections",
        "_segments",
        "_strings",
        "dynamic",
        "is_program",
        "layout",
        "machine",
        "needed_at",
        "soname",
    )

    def __init__(self, fd: int) -> None:
        """Read the open file ``fd``.  Raises ElfError, and OSError."""
        self._fd = fd
        head = os.pread(fd, _HEAD_SIZE, 0)
        layout = self.layout = layout_of(head)
        fields = layout.file_header.unpack_from(head)
        kind, machine, _, place, _, size, number = fields[:7]
        if kind not in (_ET_EXEC, _ET_DYN):
            raise ElfError("it is neither a program nor a shared object")
        self.is_program = kind == _ET_EXEC
        self.machine = (machine, layout.bits, layout.order)
        self._sections = (fields[4], *fields[7:10])
        self._names_left, self._bytes_left = _NAMES_READ_LIMIT, NAME_BYTES_LIMIT
        if size < layout.segment.size or size * number > _HEADERS_LIMIT:
            raise ElfError("its program headers are damaged")
        headers = head[place : place + size * number]
        if len(headers) < size * number:
            headers = self.exactly(place, size * number)
        where, address, length = layout.segment_fields
        self._segments: list[tuple[int, int, int]] = []  # offset, address, size in the file
        found = (0, 0)
        for at in range(0, len(headers) - layout.segment.size + 1, size):
            segment = layout.segment.unpack_from(headers, at)
            if segment[0] == _PT_LOAD:
                self._segments.append((segment[where], segment[address], segment[length]))
            elif segment[0] == _PT_DYNAMIC:
                found = (segment[where], segment[length])
        self.dynamic: dict[int, int] = {}
        self.needed_at: list[int] = []
        self._read_dynamic(*found)
        self._strings = (0, 0)  # place and size of the table
        if _DT_STRTAB in self.dynamic:
            table = self.dynamic.get(_DT_STRSZ, 0)
            if table > _TABLE_LIMIT:
                raise ElfError("its table of strings is too large")
            self._strings = (self.offset_of(self.dynamic[_DT_STRTAB]), table)
        soname = self.string(self.dynamic[_DT_SONAME]) if _DT_SONAME in self.dynamic else b""
        is_name = b"/" not in soname and soname not in (b".", b"..") and len(soname) <= _NAME_LIMIT
        self.soname = soname if is_name else b""

    def _read_dynamic(self, offset: int, length: int) -> None:
        entry = self.layout.dynamic
        data = self.some(offset, min(length, _DYNAMIC_LIMIT)) if length else b""
        for tag, value in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
            if tag == _DT_NULL:
                break
            if tag == _DT_NEEDED:
                self.needed_at.append(value)
            else:
                self.dynamic[tag] = value

    def string(self, at: int) -> bytes:
        """Return the text at ``at`` in the table of strings.  Raises ElfError and OSError."""
        start, size = self._strings
        if at >= size:
            raise ElfError("a name lies outside of its table of strings")
        data = self.some(start + at, min(TABLE_NAME_LIMIT, size - at))
        text, end, _ = data.partition(b"\0")
        if not end:
            raise ElfError("a name in its table of strings has no end")
        self._names_left -= 1
        self._bytes_left -= len(text)
        if self._names_left < 0 or self._bytes_left < 0:
            raise ElfError("it has too many names")
        return text

    def note(self, section: bytes, owner: bytes) -> bytes | None:
        """Return the description of the first note in a ``section``, if it belongs to ``owner``.

        Returns None if there is no such note.  Raises ElfError and OSError.
        """
        place, size, number, names_at = self._sections
        header = self.layout.section
        if size < header.size:
            return None
        headers = self._part(place, size * number)
        sections = [
            header.unpack_from(headers, at) for at in range(0, len(headers) - header.size + 1, size)
        ]
        if names_at >= len(sections):
            return None
        names = self._part(*sections[names_at][4:6])
        wanted = section + b"\0"
        for found in sections:
            if found[1] == _SHT_NOTE and names.startswith(wanted, found[0]):
                return _note_description(self._part(*found[4:6]), owner, self.layout.prefix)
        return None

    def offset_of(self, address: int) -> int:
        """Return the place in the file of what is loaded at ``address``.  Raises ElfError."""
        for offset, start, size in self._segments:
            if start <= address < start + size:
                return offset + address - start
        raise ElfError("an address lies outside of its segments")

    def exactly(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of the file.  Raises ElfError and OSError."""
        data = self.some(offset, size)
        if len(data) != size:
            raise ElfError("it ends too early")
        return data

    def some(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes of the file.  Raises ElfError and OSError."""
        if offset > _FILE_OFFSET_LIMIT:
            raise ElfError("it ends too early")
        return os.pread(self._fd, size, offset)

    def _part(self, offset: int, size: int) -> bytes:
        """Return a part of the file that must not be large."""
        if size > _HEADERS_LIMIT:
            raise ElfError("its sections are too large")
        return self.some(offset, size)


def layout_of(head: bytes) -> ElfLayout:
    """Return the layout of the file that begins with ``head``.  Raises ElfError."""
    kind = head[4:6]
    if not head.startswith(ELF_MAGIC) or len(head) < ELF_HEADER_SIZE:
        raise ElfError("it is no ELF file")
    if not set(kind) <= {1, 2}:
        raise ElfError("its class or byte order is unknown")
    if kind not in _LAYOUTS:
        _LAYOUTS[kind] = ElfLayout(64 if kind[0] == 2 else 32, "little" if kind[1] == 1 else "big")
    return _LAYOUTS[kind]


def _note_description(data: bytes, owner: bytes, prefix: str) -> bytes | None:
    """Return the description of the first note if it belongs to ``owner``, or None."""
    head = Struct(prefix + "III")
    if len(data) < head.size:
        return None
    name_size, size, _ = head.unpack_from(data)
    name = data[head.size : head.size + name_size]
    start = head.size + (name_size + 3) // 4 * 4
    if name.rstrip(b"\0") != owner or len(data) < start + size:
        return None
    return data[start : start + size]
