"""The supervisor's own view of files: stat(2) at its cheapest, and statx(2) for all the rest.

A location is a path, absolute or relative to the working directory, which is the /proc of the
supervisor's own PID namespace (``paths``).  Errors of the kernel are OSError.
"""

import os
from _ctypes import addressof, get_errno
from struct import Struct, pack_into

from sundog.emulation.notify.abi import NotifyAbi
from sundog.emulation.notify.memory import Buffer, Pointer
from sundog.emulation.notify.records import SYMLINK, TYPE_MASK, Record
from sundog.kernel.libc import SYSCALL_FUNCTION, Long
from sundog.kernel.mounts import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW

STATX_BASIC_STATS = 0x7FF
STATX_BTIME = 0x800

# struct statx up to the device numbers: mask, nlink, uid, gid, mode, inode, birth time (seconds,
# nanoseconds), rdev, dev.  The same on all architectures.
STATX = Struct("=I12xIIIH2xQ40xqI36xIIII")
STATX_SIZE = 256
# Where it has what the emulation changes.
STATX_UID, STATX_MODE, STATX_RDEV = 20, 28, 128
OWNER = Struct("=II")
STATX_MODE_FIELD = Struct("=H")
MODE = Struct("=I")
RDEV = Struct("=Q")


class Status:
    """What statx(2) says about a file; ``born`` is 0 where the file system does not know."""

    __slots__ = ("born", "device", "gid", "inode", "links", "mode", "rdev", "uid")

    def __init__(
        self,
        *,
        device: int,
        inode: int,
        mode: int,
        links: int,
        uid: int,
        gid: int,
        rdev: int,
        born: int,
    ) -> None:
        self.device = device
        self.inode = inode
        self.mode = mode
        self.links = links
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.born = born  # nanoseconds since 1970


class Files:
    """Looks at files; the last answer stays in a buffer of its own for each of the two calls."""

    def __init__(self, abi: NotifyAbi) -> None:
        layout = abi.stat
        self._buffer = Buffer()
        self._words = memoryview(self._buffer).cast("B")[layout.inode : layout.inode + 8].cast("Q")
        self._pointer = Pointer(addressof(self._buffer))
        self._statx_buffer = Buffer()
        self._statx_pointer = Pointer(addressof(self._statx_buffer))
        self._layout = layout
        self._syscall = SYSCALL_FUNCTION
        self._newfstatat = Long(abi.numbers["newfstatat"])
        self._statx = Long(abi.numbers["statx"])
        self._cwd = Long(AT_FDCWD)

    def find_inode(self, location: bytes, flags: int) -> int:
        """Return the inode number of ``location``, -1 if there is none."""
        if self._syscall(self._newfstatat, self._cwd, location, self._pointer, flags) < 0:
            return -1
        inode: int = self._words[0]
        return inode

    def is_symlink(self, location: bytes) -> bool:
        """Tell whether ``location`` is a symbolic link."""
        if self.find_inode(location, AT_SYMLINK_NOFOLLOW) < 0:
            return False
        (mode,) = MODE.unpack_from(self._buffer, self._layout.mode)
        return bool(mode & TYPE_MASK == SYMLINK)

    def emulated_stat(self, record: Record) -> bytes:
        """Return the ``struct stat`` that find_inode got, as ``record`` has it."""
        layout, buffer = self._layout, self._buffer
        MODE.pack_into(buffer, layout.uid, record.uid)
        MODE.pack_into(buffer, layout.gid, record.gid)
        (mode,) = MODE.unpack_from(buffer, layout.mode)
        MODE.pack_into(buffer, layout.mode, record.emulated_mode(mode))
        if record.device_type:
            RDEV.pack_into(buffer, layout.rdev, record.rdev)
        return bytes(memoryview(buffer).cast("B")[: layout.size])

    def statx(self, location: bytes, flags: int, mask: int) -> None:
        """Fill the buffer of emulated_statx."""
        if self._syscall(self._statx, self._cwd, location, flags, mask, self._statx_pointer) < 0:
            raise OSError(get_errno(), "statx")

    def emulated_statx(self, record: Record) -> bytes:
        """Return the ``struct statx`` that statx got, as ``record`` has it."""
        buffer = self._statx_buffer
        OWNER.pack_into(buffer, STATX_UID, record.uid, record.gid)
        (mode,) = STATX_MODE_FIELD.unpack_from(buffer, STATX_MODE)
        STATX_MODE_FIELD.pack_into(buffer, STATX_MODE, record.emulated_mode(mode))
        if record.device_type:
            pack_into("=II", buffer, STATX_RDEV, os.major(record.rdev), os.minor(record.rdev))
        return bytes(memoryview(buffer).cast("B")[:STATX_SIZE])

    def status(self, location: bytes, *, follow: bool = True) -> Status:
        """Return what is at ``location``, or, if not ``follow``, the symbolic link itself."""
        flags = 0 if follow else AT_SYMLINK_NOFOLLOW
        self.statx(location, flags, STATX_BASIC_STATS | STATX_BTIME)
        return self._parsed()

    def descriptor_status(self, fd: int) -> Status:
        """Return what the supervisor's own descriptor ``fd`` refers to."""
        mask = STATX_BASIC_STATS | STATX_BTIME
        pointer = self._statx_pointer
        if self._syscall(self._statx, fd, b"", AT_EMPTY_PATH, mask, pointer) < 0:
            raise OSError(get_errno(), "statx")
        return self._parsed()

    def _parsed(self) -> Status:
        fields = STATX.unpack_from(self._statx_buffer)
        mask, links, uid, gid, mode, inode, seconds, nanoseconds = fields[:8]
        return Status(
            device=os.makedev(fields[10], fields[11]),
            inode=inode,
            mode=mode,
            links=links,
            uid=uid,
            gid=gid,
            rdev=os.makedev(fields[8], fields[9]),
            born=seconds * 1_000_000_000 + nanoseconds if mask & STATX_BTIME else 0,
        )
