"""Owners of files without a record, in a namespace that maps one user only.

A user namespace of one user shows the files of all others with the overflow ID, 65534.  By default
such a file is root's.  This class is for a command that wants to see the real owners.
"""

from __future__ import annotations

import os

from sundog.runtime.emulation.notify.state.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.state.files import Status

    # Returns user and group of an open file, as the host shows them.
    _RealOwner = Callable[[int], tuple[int, int]]


class AllIsReal:
    """Each file without a record belongs to its real owner, as the host shows it.

    ``uid`` and ``gid`` are the IDs that the namespace has; ``ask`` finds the other ones.
    """

    __slots__ = ("_ask", "_gid", "_uid")

    def __init__(self, uid: int, gid: int, ask: _RealOwner) -> None:
        self._uid = uid
        self._gid = gid
        self._ask = ask

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of a file without a record.  Raises OSError."""
        if status.kernel_uid == 0 and status.kernel_gid == 0:
            return self._uid, self._gid
        fd = status.open()
        try:
            return self._ask(fd)
        finally:
            os.close(fd)

    def shown(self, status: Status) -> Record:
        """Return what stat(2) says about a file without a record."""
        return Record(0, 0, status.uid, status.gid)
