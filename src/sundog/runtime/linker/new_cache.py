"""A new cache for the dynamic linker, of all libraries that it is to find; see ``cache``.

The linker takes the first library with the name and the flags that it wants.  The libraries for
newer processors stand before those for all.  The record of one has the number of its subdirectory
in a list, which is the cache's extension (dl-cache.h of glibc; older linkers leave it out).
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.linker.cache import (
    CACHE_HEADER,
    CACHE_MAGIC,
    CACHE_RECORD,
    EXTENSION_HEAD,
    EXTENSION_MAGIC,
    EXTENSION_SECTION,
    HWCAPS_SECTION,
    OWN_ORDER,
    sort_key,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.linker.cache import CachedLibrary

_HWCAPS_RECORD = 1 << 62  # the lower half is a number in the list
_HWCAPS_WORD = Struct("=I")


def new_cache(libraries: Sequence[CachedLibrary]) -> bytes:
    """Return the content of a cache; of equal libraries, the first one wins."""
    ordered = sorted(libraries, key=lambda each: (not each.hwcaps, each.hwcaps))
    ordered.sort(key=lambda each: (sort_key(each.name), each.flags), reverse=True)  # stable
    strings = _Strings(CACHE_HEADER.size + len(ordered) * CACHE_RECORD.size)
    hwcaps = sorted({each.hwcaps for each in ordered if each.hwcaps})
    records = [
        CACHE_RECORD.pack(
            each.flags,
            strings.place(each.name),
            strings.place(each.path),
            0,
            _HWCAPS_RECORD | hwcaps.index(each.hwcaps) if each.hwcaps else 0,
        )
        for each in ordered
    ]
    listed = b"".join([_HWCAPS_WORD.pack(strings.place(name)) for name in hwcaps])
    length, start = len(strings.text), 0
    if hwcaps:
        strings.text += bytes(-strings.end() % 4)
        start = strings.end()
        place = start + EXTENSION_HEAD.size + EXTENSION_SECTION.size
        strings.text += EXTENSION_HEAD.pack(EXTENSION_MAGIC, 1)
        strings.text += EXTENSION_SECTION.pack(HWCAPS_SECTION, 0, place, len(listed)) + listed
    head = CACHE_HEADER.pack(CACHE_MAGIC, len(ordered), length, OWN_ORDER, start)
    return b"".join([head, *records, strings.text])


class _Strings:
    """The part of a file from ``start`` on: ``text``, which has each string once."""

    __slots__ = ("_places", "_start", "text")

    def __init__(self, start: int) -> None:
        self._start = start
        self._places: dict[bytes, int] = {}
        self.text = bytearray()

    def end(self) -> int:
        """Return the place behind the text in the file."""
        return self._start + len(self.text)

    def place(self, string: bytes) -> int:
        """Return the place of a string in the file."""
        if string not in self._places:
            self._places[string] = self.end()
            self.text += string + b"\0"
        return self._places[string]
