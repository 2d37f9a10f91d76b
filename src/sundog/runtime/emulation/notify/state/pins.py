"""Hold files of an overlay open, because their inode numbers would change otherwise.

An overlay shows a copied-up file with the inode number that the file had in the lower layer.  If an
ordinary user mounted the overlay, that lasts only as long as the kernel has the inode in its cache.
After that the file shows its number in the upper directory (fs/overlayfs/export.c,
ovl_decode_real_fh, demands a privilege).  An open file stays in the cache.  The overlay finds
directories in lower layers by name, so they keep their numbers.

The overlay has ``xino=on``.  So if no layer is on the file system of the upper directory, only the
numbers of lower layers have high bits (fs/overlayfs/inode.c, ovl_map_dev_ino).
"""

from __future__ import annotations

import os

from sundog.base.kernel.descriptors import allow_descriptors
from sundog.runtime.emulation.notify.state.files import NO_OVERLAY, ONLY_ABOVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status

NOT_THERE = -1
_FREE = 512  # descriptors for all other purposes
_BELOW = 1 << 40  # from here on, an inode number has high bits
_NO_DEVICE = -1
_DEVICES_LIMIT = 1024


class Pins:
    """Open files, as many as the process may have.

    upper   a descriptor of the overlay's upper directory; -1 if there is no overlay to care for

    ``is_apart`` tells that the overlay is the root, and that no layer is on the file system of the
    upper directory.
    """

    def __init__(self, upper: int = -1, *, is_apart: bool = False) -> None:
        self.upper = upper
        self._apart = os.stat(b"/").st_dev if is_apart else _NO_DEVICE
        self._room = 0
        self._copies: set[tuple[int, int]] = set()  # device and inode number
        self._others: set[int] = set()  # devices that are no overlay; its own are not used again
        if upper >= 0:
            self._room = allow_descriptors() - _FREE

    def has_room(self) -> bool:
        """Tell whether one more file can be held."""
        return self._room > 0

    def hold(self, fd: int) -> None:
        """Take over a descriptor that is open with O_PATH."""
        if self.has_room():
            self._room -= 1
        else:
            os.close(fd)

    def hold_copy(self, status: Status) -> int:
        """Hold the file that ``status`` describes, unless the upper directory has its number.

        If there is no room, returns the number there, which the file may show, else NOT_THERE.
        """
        device, inode = copy = status.device, status.inode
        if (
            (device == self._apart and inode < _BELOW)
            or device in self._others
            or copy in self._copies
        ):
            return NOT_THERE
        side = status.overlay_side()
        if side == NO_OVERLAY and len(self._others) < _DEVICES_LIMIT:
            self._others.add(device)
        number = NOT_THERE if side in (NO_OVERLAY, ONLY_ABOVE) else self.number_above(status)
        if number in (NOT_THERE, inode):
            return NOT_THERE
        self._copies.add(copy)
        if not self.has_room():
            return number
        self.hold(status.open())
        return NOT_THERE

    def number_above(self, status: Status) -> int:
        """Return the file's number in the upper directory; NOT_THERE if it is not copied up."""
        try:
            path = status.path()[1:]  # it may be too long
            return os.stat(path, dir_fd=self.upper, follow_symlinks=False).st_ino
        except OSError:
            return NOT_THERE
