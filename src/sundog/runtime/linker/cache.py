"""The dynamic linker's cache, /etc/ld.so.cache: find libraries in it, and add libraries to it.

No ``ldconfig`` runs for that: it would read all libraries again, and it is a program of the image.

Format: glibc's "new" format, native byte order (dl-cache.h).  An older file has another table in
front, which glibc has not needed since 2.2.  The names are sorted in descending order, where digits
count as numbers; of two libraries with one name the linker takes the first.  So a library that is
added before an old one replaces it.

The file may come from an image.  Any content is safe: the result is bytes that only the linker in
the container reads.
"""

from __future__ import annotations

import sys

from sundog.base.cpython import Struct
from sundog.runtime.linker.elf import ElfError, ElfFile

_EM_386, _EM_PPC, _EM_PPC64, _EM_S390, _EM_ARM, _EM_X86_64, _EM_AARCH64, _EM_RISCV = (
    3,
    20,
    21,
    22,
    40,
    62,
    183,
    243,
)

LINKER_CACHE = b"/etc/ld.so.cache"
LINKER_CACHE_LIMIT = 16 << 20  # in bytes
# Limits for one entry: the file may be damaged.
_CACHE_STRING_LIMIT = 4096
_SAME_NAME_LIMIT = 64  # libraries
HWCAPS_LIMIT = 64  # names of processors; glibc knows less than ten for a machine

CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_OLDER_MAGIC = b"ld.so-1.7.0"
_OLDER_HEADER = Struct("=11s1xI")  # magic, number of records
_OLDER_RECORD_SIZE = 12
# magic, number of records, length of the strings, byte order, offset of the extension
CACHE_HEADER = Struct("=20sIIB3xI12x")
_EXTENSION_PLACE = 32
# flags, offset of the name, offset of the path, version of the system, hardware capabilities
CACHE_RECORD = Struct("=iIIIQ")
_RECORD_WORDS = CACHE_RECORD.size // 4
OWN_ORDER = 2 if sys.byteorder == "little" else 3
EXTENSION_HEAD = Struct("=II")  # magic, number of sections
EXTENSION_MAGIC = 0xEAA42174
EXTENSION_SECTION = Struct("=IIII")  # tag, flags, offset, length
HWCAPS_SECTION = 1  # an array of offsets of strings
SECTIONS_LIMIT = 16
_OFFSET_LIMIT = 1 << 32

# The cache's marks of libraries, by machine and word size (ldconfig.h of glibc).
_FLAG_ELF_LIBC6 = 3
_CACHE_FLAGS = {
    (_EM_386, 32): _FLAG_ELF_LIBC6,
    (_EM_X86_64, 64): 0x0303,
    (_EM_X86_64, 32): 0x0803,
    (_EM_AARCH64, 64): 0x0A03,
    (_EM_ARM, 32): 0x0903,
    (_EM_PPC, 32): _FLAG_ELF_LIBC6,
    (_EM_PPC64, 64): 0x0503,
    (_EM_S390, 32): _FLAG_ELF_LIBC6,
    (_EM_S390, 64): 0x0403,
    (_EM_RISCV, 64): 0x1003,
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class CachedLibrary:
    """A library ``name`` at ``path``; ``flags`` as in _CACHE_FLAGS.

    ``hwcaps`` is the subdirectory of ``glibc-hwcaps`` that has it, b"" for all processors.
    """

    __slots__ = ("flags", "hwcaps", "name", "path")

    def __init__(self, name: bytes, path: bytes, flags: int, hwcaps: bytes = b"") -> None:
        self.name = name
        self.path = path
        self.flags = flags
        self.hwcaps = hwcaps


def cache_flags(machine: tuple[int, int, str]) -> int:
    """Return how the cache marks libraries for a ``machine``, which is as in ``ElfFile``."""
    return _CACHE_FLAGS.get(machine[:2], _FLAG_ELF_LIBC6)


def cached_library(fd: int, path: bytes) -> CachedLibrary | None:
    """Return the open file as a library at ``path``; None if it is none, or of no known machine."""
    try:
        library = ElfFile(fd)
    except (ElfError, OSError):
        return None
    machine, bits, order = library.machine
    if library.is_program or (machine, bits) not in _CACHE_FLAGS or order != sys.byteorder:
        return None
    name = library.soname or path.rpartition(b"/")[2]
    return CachedLibrary(name, path, cache_flags(library.machine))


def is_library_name(name: bytes) -> bool:
    """Tell whether ``ldconfig`` would look at a file with this name."""
    return name.startswith((b"lib", b"ld-", b"ld.so.", b"ld64.so.")) and b".so" in name


class LinkerCache:
    """The content ``data`` of a cache; b"", or another format, counts as an empty one."""

    __slots__ = ("_count", "_data", "_keys")

    def __init__(self, data: bytes) -> None:
        if data.startswith(_OLDER_MAGIC) and len(data) >= _OLDER_HEADER.size:
            _, count = _OLDER_HEADER.unpack_from(data)
            data = data[(_OLDER_HEADER.size + count * _OLDER_RECORD_SIZE + 7) // 8 * 8 :]
            # Its extension counts from the beginning of the file.  It names the generator.
            data = data[:_EXTENSION_PLACE] + bytes(4) + data[_EXTENSION_PLACE + 4 :]
        self._count = 0
        self._keys: dict[int, list[tuple[int, int]]] = {}
        if data.startswith(CACHE_MAGIC) and len(data) >= CACHE_HEADER.size:
            count = CACHE_HEADER.unpack_from(data)[1]
            if CACHE_HEADER.size + count * CACHE_RECORD.size <= len(data):
                self._count = count
        self._data = data if self._count else b""

    def find(self, name: bytes) -> list[CachedLibrary]:
        """Return the libraries with the ``name``, in the order of the file."""
        found: list[CachedLibrary] = []
        at = self._place(name)
        while at < self._count and len(found) < _SAME_NAME_LIMIT:
            flags, key, value, _, _ = self._record(at)
            if self._string(key) != name:
                break
            found.append(CachedLibrary(name, self._string(value), flags))
            at += 1
        return found

    def mentions(self, directory: bytes) -> bool:
        """Tell whether a library has a path in the ``directory``."""
        start = b"\0" + directory.rstrip(b"/") + b"/"
        at = self._data.find(start)
        while at >= 0:
            end = self._data.find(b"\0", at + 1)
            if b"/" not in self._data[at + len(start) : end]:
                return True
            at = self._data.find(start, at + 1)
        return False

    def extended(self, libraries: Sequence[CachedLibrary]) -> bytes:
        """Return the content with ``libraries`` added; of one name, the first one wins."""
        added = sorted(libraries, key=lambda each: sort_key(each.name), reverse=True)  # stable
        data = self._data or CACHE_HEADER.pack(CACHE_MAGIC, 0, 0, OWN_ORDER, 0)
        shift = len(added) * CACHE_RECORD.size
        records_end = CACHE_HEADER.size + self._count * CACHE_RECORD.size
        rest = bytearray(data[records_end:])
        if rest and rest[-1]:
            rest.append(0)
        records, strings, done = bytearray(), bytearray(), 0
        old = self._shifted_records(records_end, shift)
        strings_start = records_end + shift + len(rest)
        for library in added:
            place = self._place(library.name)
            records += old[done * CACHE_RECORD.size : place * CACHE_RECORD.size]
            done = max(done, place)
            name = strings_start + len(strings)
            strings += library.name + b"\0"
            path = strings_start + len(strings)
            strings += library.path + b"\0"
            records += CACHE_RECORD.pack(library.flags, name, path, 0, 0)
        records += old[done * CACHE_RECORD.size :]
        head = bytearray(data[: CACHE_HEADER.size])
        _, _, length, order, extension = CACHE_HEADER.unpack(head)
        if extension:
            _shift_extension(rest, records_end, extension, shift)
            extension += shift
        CACHE_HEADER.pack_into(
            head,
            0,
            CACHE_MAGIC,
            self._count + len(added),
            length,
            order,
            min(extension, _OFFSET_LIMIT - 1),
        )
        return bytes(head + records + rest + strings)

    def _shifted_records(self, end: int, shift: int) -> bytes:
        """Return the old records with their string offsets shifted.

        An offset that is none becomes the largest number.
        """
        records = bytearray(self._data[CACHE_HEADER.size : end])
        words = memoryview(records).cast("I")
        for place in range(1, len(words), _RECORD_WORDS):
            for each in (place, place + 1):
                words[each] = min(words[each] + shift, _OFFSET_LIMIT - 1)
        words.release()
        return bytes(records)

    def _place(self, name: bytes) -> int:
        """Return the number of the first record whose name is ``name``, or sorts behind it."""
        wanted = sort_key(name)
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) > wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def _key(self, number: int) -> list[tuple[int, int]]:
        key = self._keys.get(number)
        if key is None:
            key = self._keys[number] = sort_key(self._string(self._record(number)[1]))
        return key

    def _record(self, number: int) -> tuple[int, ...]:
        offset = CACHE_HEADER.size + number * CACHE_RECORD.size
        return CACHE_RECORD.unpack_from(self._data, offset)

    def _string(self, offset: int) -> bytes:
        """Return the string at ``offset``; b"" if it is outside, or too long for a path."""
        end = self._data.find(b"\0", offset, offset + _CACHE_STRING_LIMIT)
        return self._data[offset:end] if end >= 0 else b""


def sort_key(name: bytes) -> list[tuple[int, int]]:
    """Return what the linker compares of ``name``: digits count as a number, above other bytes."""
    key: list[tuple[int, int]] = []
    in_number = False
    for byte in name:
        is_digit = 0x30 <= byte <= 0x39
        if is_digit and in_number:
            key[-1] = (1, key[-1][1] * 10 + byte - 0x30)
        else:
            key.append((1, byte - 0x30) if is_digit else (0, byte))
        in_number = is_digit
    return key


def _shift_extension(rest: bytearray, start: int, extension: int, shift: int) -> None:
    """Add ``shift`` to all offsets in a cache's extension.

    ``rest`` is the part of the file from ``start`` on.  The extension is at the offset
    ``extension`` of the file.
    """
    place = extension - start
    if place < 0 or place + EXTENSION_HEAD.size > len(rest):
        return
    magic, count = EXTENSION_HEAD.unpack_from(rest, place)
    if magic != EXTENSION_MAGIC or count > SECTIONS_LIMIT:
        return
    word = Struct("=I")
    for number in range(count):
        at = place + EXTENSION_HEAD.size + number * EXTENSION_SECTION.size
        if at + EXTENSION_SECTION.size > len(rest):
            return
        tag, flags, offset, length = EXTENSION_SECTION.unpack_from(rest, at)
        moved = min(offset + shift, _OFFSET_LIMIT - 1)
        EXTENSION_SECTION.pack_into(rest, at, tag, flags, moved, length)
        first = offset - start
        if tag != HWCAPS_SECTION or first < 0:
            continue
        for each in range(first, min(first + min(length, HWCAPS_LIMIT * 4), len(rest)) - 3, 4):
            moved = min(word.unpack_from(rest, each)[0] + shift, _OFFSET_LIMIT - 1)
            word.pack_into(rest, each, moved)
