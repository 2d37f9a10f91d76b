"""The parts of an ELF file that the dynamic linker decides by: names, needs, symbol versions.

The file may be an image's, so it may be damaged or hostile: the reader believes no number without a
bound.  Only the program headers count, as for the linker; section headers may be missing.

Specification: the System V ABI, chapters 4 and 5 (object files, dynamic linking); the Linux
Standard Base 5.0, chapter 10.7 (symbol versioning).

Floor 0.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

ELF_IDENTITY = b"\x7fELF"
CLASS_64, DATA_LITTLE, DATA_BIG = 2, 1, 2
ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 10, 14, 15, 29
DT_VERDEF, DT_VERDEFNUM = 0x6FFFFFFC, 0x6FFFFFFD
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
VER_FLG_BASE = 1  # the file's own name, which is no version

MOST_SEGMENTS = 512
MOST_ENTRIES = 16384  # in the dynamic section
LARGEST_TABLE = 64 << 20  # bytes of strings; names and bookkeeping of the largest MPIs take 5
LONGEST_TABLE_NAME = 4096
LARGEST_OFFSET = 1 << 48
MOST_VERSIONS = 4096


class ElfError(Exception):
    """A file is not an ELF file that this module can read, or is damaged."""


class SharedObject:
    """A shared object or a program: what its headers say.

    machine       ``e_machine``, the class in bits, and the byte order: what must be equal in one
                  process
    interpreter   whether it asks for a dynamic linker: a program that is linked dynamically
    soname        DT_SONAME, or b""
    needed        DT_NEEDED, in order
    rpath         DT_RPATH and DT_RUNPATH: directories, as they stand there, with ``$ORIGIN``
    runpath
    defined       the symbol versions that it defines
    wanted        file name → the symbol versions of that file which it needs
    """

    __slots__ = (
        "_fd",
        "_order",
        "_segments",
        "defined",
        "interpreter",
        "machine",
        "needed",
        "rpath",
        "runpath",
        "soname",
        "wanted",
    )

    def __init__(self, fd: int) -> None:
        """Read the open file ``fd``.  Raises ElfError, and OSError."""
        self._fd = fd
        self._order: Literal["little", "big"] = "little"
        self._segments: list[tuple[int, int, int]] = []  # address, offset, size in the file
        self.soname = self.rpath = self.runpath = b""
        self.needed: list[bytes] = []
        self.defined: set[bytes] = set()
        self.wanted: dict[bytes, set[bytes]] = {}
        header = self._bytes(0, 64)
        if header[:4] != ELF_IDENTITY:
            raise ElfError("it is not an ELF file")
        if header[4] not in (1, CLASS_64) or header[5] not in (DATA_LITTLE, DATA_BIG):
            raise ElfError("its class or byte order is unknown")
        self._order = "little" if header[5] == DATA_LITTLE else "big"
        wide = header[4] == CLASS_64
        number = self._number
        self.machine = (number(header, 18, 2), 64 if wide else 32, self._order)
        if number(header, 16, 2) not in (ET_EXEC, ET_DYN):
            raise ElfError("it is neither a program nor a shared object")
        table, size, count = (32, 54, 56) if wide else (28, 42, 44)
        word = 8 if wide else 4
        entry_size, entries = number(header, size, 2), number(header, count, 2)
        if entry_size < (56 if wide else 32) or entries > MOST_SEGMENTS:
            raise ElfError("its program headers are damaged")
        headers = self._bytes(number(header, table, word), entry_size * entries)
        dynamic: tuple[int, int] | None = None
        self.interpreter = False
        for at in range(0, len(headers), entry_size):
            kind = number(headers, at, 4)
            offset = number(headers, at + (8 if wide else 4), word)
            address = number(headers, at + (16 if wide else 8), word)
            length = number(headers, at + (32 if wide else 16), word)
            if kind == PT_LOAD:
                self._segments.append((address, offset, length))
            elif kind == PT_DYNAMIC:
                dynamic = (offset, length)
            elif kind == PT_INTERP:
                self.interpreter = True
        if dynamic is not None:
            self._read_dynamic(*dynamic, word)

    def _read_dynamic(self, offset: int, length: int, word: int) -> None:
        """Read the dynamic section, and what it leads to."""
        section = self._bytes(offset, min(length, MOST_ENTRIES * 2 * word))
        values: dict[int, int] = {}
        needed: list[int] = []
        for at in range(0, len(section) - 2 * word + 1, 2 * word):
            tag, value = self._number(section, at, word), self._number(section, at + word, word)
            if tag == 0:
                break
            if tag == DT_NEEDED:
                needed.append(value)
            else:
                values[tag] = value
        if DT_STRTAB not in values:
            if needed:
                raise ElfError("it has no table of strings")
            return
        size = values.get(DT_STRSZ, 0)
        if size > LARGEST_TABLE:
            raise ElfError("its table of strings is too large")
        start = self._offset(values[DT_STRTAB])

        def name(at: int) -> bytes:
            if at >= size:
                raise ElfError("a name lies outside of its table of strings")
            text, end, _ = self._some(start + at, min(LONGEST_TABLE_NAME, size - at)).partition(
                b"\0"
            )
            if not end:
                raise ElfError("a name in its table of strings has no end")
            return text

        self.needed = [name(at) for at in needed]
        self.soname = name(values[DT_SONAME]) if DT_SONAME in values else b""
        self.rpath = name(values[DT_RPATH]) if DT_RPATH in values else b""
        self.runpath = name(values[DT_RUNPATH]) if DT_RUNPATH in values else b""
        number = self._number
        if DT_VERDEF in values:
            # Elf64_Verdef: version, flags, ndx, cnt (16 bits), hash, aux, next (32 bits).
            start_of_chain, count = self._offset(values[DT_VERDEF]), values.get(DT_VERDEFNUM, 0)
            for where, entry in self._chain(start_of_chain, count, 20, 16):
                if not number(entry, 2, 2) & VER_FLG_BASE:
                    # Elf64_Verdaux: name, next (32 bits).
                    aux = self._bytes(where + number(entry, 12, 4), 8)
                    self.defined.add(name(number(aux, 0, 4)))
        if DT_VERNEED in values:
            # Elf64_Verneed: version, cnt (16 bits), file, aux, next (32 bits).
            start_of_chain, count = self._offset(values[DT_VERNEED]), values.get(DT_VERNEEDNUM, 0)
            for where, entry in self._chain(start_of_chain, count, 16, 12):
                wanted = self.wanted.setdefault(name(number(entry, 4, 4)), set())
                # Elf64_Vernaux: hash (32 bits), flags, other (16 bits), name, next (32 bits).
                first = where + number(entry, 8, 4)
                for _, aux in self._chain(first, number(entry, 2, 2), 16, 12):
                    wanted.add(name(number(aux, 8, 4)))

    def _chain(
        self, offset: int, count: int, size: int, link: int
    ) -> "Iterator[tuple[int, bytes]]":
        """Yield the entries of a chain, with their offsets.

        ``link`` is the place in an entry of the distance to the next one, of 32 bits.
        """
        for _ in range(min(count, MOST_VERSIONS)):
            entry = self._bytes(offset, size)
            yield offset, entry
            distance = self._number(entry, link, 4)
            if distance == 0:
                return
            offset += distance

    def _offset(self, address: int) -> int:
        """Return the place in the file of what is loaded at ``address``."""
        for start, offset, size in self._segments:
            if start <= address < start + size:
                return offset + address - start
        raise ElfError("an address lies outside of its segments")

    def _number(self, data: bytes, at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], self._order)

    def _bytes(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes of the file."""
        data = self._some(offset, size)
        if len(data) != size:
            raise ElfError("it ends too early")
        return data

    def _some(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes of the file."""
        if offset > LARGEST_OFFSET:
            raise ElfError("it ends too early")
        return os.pread(self._fd, size, offset)
