"""Facts of an ELF file by which the dynamic linker decides: its needs and symbol versions.

Specification: the System V ABI, chapter 5 (dynamic linking); the Linux Standard Base 5.0, chapter
10.7 (symbol versioning).
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.linker.elf import ElfFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DT_RPATH, _DT_RUNPATH = 15, 29
_DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFFC, 0x6FFFFFFD
DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_VER_FLG_BASE = 1  # the file's own name, which is no version
_VERSIONS_LIMIT = 4096

_VERDEF = "HHHHIII"  # version, flags, ndx, cnt, hash, aux, next
_VERDAUX = "II"  # name, next
_VERNEED = "HHIII"  # version, cnt, file, aux, next
_VERNAUX = "IHHII"  # hash, flags, other, name, next


class SharedObject(ElfFile):
    """A shared object or a program, and what it needs.

    needed   DT_NEEDED, in order
    rpath    DT_RPATH and DT_RUNPATH: directories, as they stand there, with ``$ORIGIN``
    runpath
    defined  the symbol versions that it defines
    wanted   file name → the symbol versions of that file which it needs
    """

    __slots__ = ("defined", "needed", "rpath", "runpath", "wanted")

    def __init__(self, fd: int) -> None:
        """Read the open file ``fd``.  Raises ElfError, and OSError."""
        super().__init__(fd)
        self.needed = [self.string(at) for at in self.needed_at]
        paths = [self.dynamic.get(tag) for tag in (_DT_RPATH, _DT_RUNPATH)]
        self.rpath, self.runpath = [b"" if at is None else self.string(at) for at in paths]
        self.defined: set[bytes] = set()
        self.wanted: dict[bytes, set[bytes]] = {}
        self._read_defined()
        self._read_wanted()

    def _read_defined(self) -> None:
        for where, entry in self._chain(_DT_VERDEF, _DT_VERDEFNUM, _VERDEF):
            if not entry[1] & _VER_FLG_BASE:
                _, (name, _) = next(self._entries(where + entry[5], 1, _VERDAUX))
                self.defined.add(self.string(name))

    def _read_wanted(self) -> None:
        for where, entry in self._chain(DT_VERNEED, _DT_VERNEEDNUM, _VERNEED):
            wanted = self.wanted.setdefault(self.string(entry[2]), set())
            for _, need in self._entries(where + entry[3], entry[1], _VERNAUX):
                wanted.add(self.string(need[3]))

    def _chain(
        self, tag: int, count_tag: int, structure: str
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield the entries of the chain to which the dynamic section leads."""
        if tag in self.dynamic:
            start = self.offset_of(self.dynamic[tag])
            yield from self._entries(start, self.dynamic.get(count_tag, 0), structure)

    def _entries(
        self, offset: int, count: int, structure: str
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield up to ``count`` entries, with their places.

        The last number of an entry is the distance to the next one.
        """
        entry = Struct(self.layout.prefix + structure)
        for _ in range(min(count, _VERSIONS_LIMIT)):
            fields = entry.unpack(self.exactly(offset, entry.size))
            yield offset, fields
            if fields[-1] == 0:
                return
            offset += fields[-1]
