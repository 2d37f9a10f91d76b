"""Hold files of an overlay open, because their inode numbers would change otherwise.

An overlay shows a copied-up file with the inode number that the file had in the lower layer.  If an
ordinary user mounted the overlay, that lasts only as long as the kernel has the inode in its cache.
After that the file shows its number in the upper directory (fs/overlayfs/export.c,
ovl_decode_real_fh, demands a privilege).  An open file stays in the cache.  The overlay finds
directories in lower layers by name, so they keep their numbers.
"""

from __future__ import annotations

import os

from sundog.base.kernel.descriptors import allow_descriptors
from sundog.base.kernel.files import Closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status

NOT_THERE = -1
_FREE = 512  # descriptors for all other purposes


class Pins:
    """Open files, as many as the process may have.

    upper   a descriptor of the overlay's upper directory; -1 if there is no overlay to care for
    """

    def __init__(self, upper: int = -1) -> None:
        self.upper = upper
        self._room = 0
        self._copies: set[tuple[int, int]] = set()  # device and inode number
        if upper >= 0:
            self._room = allow_descriptors() - _FREE

    def hold(self, fd: int) -> None:
        """Take over a descriptor that is open with O_PATH."""
        if self._room > 0:
            self._room -= 1
        else:
            os.close(fd)

    def hold_copy(self, status: Status) -> None:
        """Hold the file that ``status`` describes, unless the upper directory has its number."""
        copy = status.device, status.inode
        if copy in self._copies or status.is_only_above():
            return
        fd = status.open()
        if self._number_above(fd) in (NOT_THERE, status.inode):
            os.close(fd)
        else:
            self._copies.add(copy)
            self.hold(fd)

    def number_above(self, status: Status) -> int:
        """Return the file's number in the upper directory; NOT_THERE if it is not copied up."""
        with Closing(status.open()) as fd:
            return self._number_above(fd)

    def _number_above(self, fd: int) -> int:
        try:
            path = os.readlink(b"self/fd/%d" % fd)[1:]  # it may be too long
            return os.stat(path, dir_fd=self.upper, follow_symlinks=False).st_ino
        except OSError:
            return NOT_THERE
