"""Hold files of an overlay open whose inode numbers would change otherwise.

A file that an overlay has copied up goes on under the number that it had below.  But an overlay
that an ordinary user mounted knows that only as long as the kernel has the inode in its cache:
then the file shows the number that it has in the upper directory (fs/overlayfs/export.c,
ovl_decode_real_fh, wants a privilege).  An open file stays in the cache.  Directories are found
below by name, and keep their numbers.
"""

import os
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.state.files import Status

NOT_THERE = -1
FREE = 512  # descriptors left for all else


class Pins:
    """Open files, as many as the process may have.

    upper   a descriptor of the overlay's upper directory; -1 where there is none, and no need
    """

    def __init__(self, upper: int = -1) -> None:
        self.upper = upper
        self._room = 0
        self._copies: set[tuple[int, int]] = set()  # device and inode number
        if upper >= 0:
            _, hard = getrlimit(RLIMIT_NOFILE)
            setrlimit(RLIMIT_NOFILE, (hard, hard))
            self._room = hard - FREE

    def hold(self, fd: int) -> None:
        """Take over a descriptor that is open with O_PATH."""
        if self._room > 0:
            self._room -= 1
        else:
            os.close(fd)

    def hold_copy(self, status: "Status") -> None:
        """Hold the file that ``status`` describes, unless its number is its own."""
        copy = status.device, status.inode
        if copy in self._copies:
            return
        fd = status.open()
        if self._number_above(fd) in (NOT_THERE, status.inode):
            os.close(fd)
        else:
            self._copies.add(copy)
            self.hold(fd)

    def number_above(self, status: "Status") -> int:
        """Return the number in the upper directory; NOT_THERE if the file is still below."""
        fd = status.open()
        try:
            return self._number_above(fd)
        finally:
            os.close(fd)

    def _number_above(self, fd: int) -> int:
        path = os.readlink(b"self/fd/%d" % fd)[1:]
        try:
            return os.stat(path, dir_fd=self.upper, follow_symlinks=False).st_ino
        except OSError:
            return NOT_THERE
