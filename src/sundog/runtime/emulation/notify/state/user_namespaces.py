"""User namespaces that programs of the container make, and the IDs by which their processes go.

Such a namespace has a map of IDs (user_namespaces(7)).  The kernel lets a program map only the one
user and the one group that the container has, which stand for root.  So the kernel itself gives the
right answer to who a process of the namespace is, and to whom it may give a file.  An emulated ID
that the map does not have shows as the overflow ID.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.runtime.emulation.notify.state.record import Record
from sundog.runtime.emulation.notify.tracee.descriptors import whole_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.runtime.emulation.notify.state.page import SharedPage

_OVERFLOW_ID = 65534  # fs.overflowuid and kernel.overflowuid of proc(5), as nobody changes them
_MAP_LIMIT = 1 << 16  # bytes: 340 lines


class UserNamespaces:
    """Tells which processes are in a user namespace below the container's.

    have_begun  whether a program has made one
    """

    def __init__(self, page: SharedPage | None) -> None:
        """Begin without one.  The first ends the fast path, whose ``page`` knows no other map."""
        self.have_begun = False
        self._own = b""
        self._page = page

    def begin(self) -> None:
        """Note that a program is about to make a user namespace."""
        self.have_begun = True
        self._own = os.readlink(b"self/ns/user")
        if self._page is not None:
            self._page.end()

    def has(self, thread: int) -> bool:
        """Tell whether ``thread`` is in one.  Raises OSError if it has ended."""
        return self.have_begun and os.readlink(b"%d/ns/user" % thread) != self._own

    def groups(self, thread: int, groups: Iterable[int]) -> list[int]:
        """Return the ``groups`` of ``thread`` by the numbers that it knows.  Raises OSError."""
        if not self.has(thread):
            return [*groups]
        known = _map(thread, b"gid_map")
        return [_inside(known, group) for group in groups]

    def seen(self, thread: int, record: Record) -> Record:
        """Return what ``thread`` sees of a file with ``record``.  Raises OSError."""
        if not self.has(thread):
            return record
        uid = _inside(_map(thread, b"uid_map"), record.uid)
        gid = _inside(_map(thread, b"gid_map"), record.gid)
        shown = Record(record.device, record.birth, uid, gid)
        shown.copy_from(record)
        shown.uid, shown.gid = uid, gid
        return shown


def _map(thread: int, name: bytes) -> list[tuple[int, int, int]]:
    """Return a map of IDs: the first inside, the first in the container, and the number."""
    with Closing(os.open(b"%d/%b" % (thread, name), os.O_RDONLY | os.O_CLOEXEC)) as fd:
        lines = whole_text(fd, _MAP_LIMIT).splitlines()
    return [
        (int(inside), int(outside), int(count))
        for inside, outside, count in map(bytes.split, lines)
    ]


def _inside(known: list[tuple[int, int, int]], value: int) -> int:
    for inside, outside, count in known:
        if outside <= value < outside + count:
            return inside + value - outside
    return _OVERFLOW_ID
