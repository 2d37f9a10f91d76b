"""The supervisor's own view of files.

A location is an absolute path, or a path relative to the working directory, which is the /proc of
the supervisor's own PID namespace (``tracee.paths``).  An error of the kernel raises OSError.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import Struct, byref, get_errno, pack_into
from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import MODE_MASK, S_IFLNK, S_IFMT
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
)
from sundog.runtime.emulation.notify.tracee.memory import Buffer, QuickFunction, quick_function
from sundog.runtime.emulation.notify.tracee.paths import descriptor, is_place

AT_SYMLINK_FOLLOW = 0x400
_AT_HANDLE_FID = 0x200  # since Linux 6.5: a handle that only identifies the file
_IN_DONT_FOLLOW = 0x02000000
PLAINLY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_READ_OR_WRITE = 0o600
_ABSENT = 0x3FFFFFFF  # no process has so many descriptors
_OWN_DESCRIPTORS = b"self/fd/"  # in the working directory

# struct file_handle: bytes, type, and then the handle.
_FILE_HANDLE = Struct("=Ii")
_MAX_HANDLE_SZ = 128

# An overlay's handle, struct ovl_fh: three unused bytes, version, magic, length, flags.  Otherwise
# an overlay has the kind of handle that the kernel makes for file systems without one of their own.
_OVL_FH = Struct("=4xBxB")
_OVL_FILEID_V1, _OVL_FH_MAGIC, _PATH_UPPER = 0xF8, 0xFB, 1 << 2
_FILEID_INO64_GEN = 0x81  # linux/exportfs.h
# The answers of Files.overlay_side.
_SIDE_UNKNOWN, NO_OVERLAY, ONLY_ABOVE = range(3)

# Offsets of the fields in struct statx that the emulation changes, and of the birth time; the mask
# is at 0.  The structure is the same on all architectures.
STATX_SIZE = 256
STATX_UID, STATX_MODE, STATX_RDEV, STATX_BIRTH = 20, 28, 128, 80
_STATX_BTIME = 0x800
_STATX_MNT_ID = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_ATTRIBUTES, _STATX_MOUNT = 8, 144
_STATX_ATTR_MOUNT_ROOT = 0x2000
_STATX_ALL = 0x7FF | _STATX_BTIME
# Mask, user, group, mode, inode, the two parts of the birth time, and of the device.
_STATX_FIELDS = Struct("=I16xIIH2xQ40xqI44xII")
_OWNER = Struct("=II")
_STATX_MODE_FIELD = Struct("=H")
_TIMESTAMP = Struct("=qI")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sundog.runtime.emulation.notify.state.record import Record
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

    class UnrecordedOwners(Protocol):
        """The owners of files without a record: see ``unrecorded_owners``."""

        def owner(self, status: Status, /) -> tuple[int, int]: ...  # noqa: D102


# The inode number of a directory, and a name in it.  Directories of the container's root keep their
# numbers.
Name = tuple[int, bytes]

# struct statfs begins with its type: 64 bits wide on little-endian machines, and 32 bits on s390x.
_STATFS_TYPE = Struct("=I")
_STATFS_BUFFER = Buffer()  # larger than a struct statfs
_STATFS_POINTER = byref(_STATFS_BUFFER)
_FSTATFS = quick_function("fstatfs")
ID = Struct("=I")
_DEVICE = Struct("=Q")


class Status:
    """The result of stat(2) for a file without a record, and on request the mark of its birth.

    ``kernel_uid`` and ``kernel_gid`` are the IDs that the kernel reports, before any emulation.
    Only a file with ``kernel_uid`` 0 is the user's: the user may change its mode.  ``uid`` and
    ``gid`` differ from these on the host's own directories: see ``unrecorded_owners``.
    """

    __slots__ = (
        "_birth",
        "_files",
        "_follow",
        "_location",
        "device",
        "gid",
        "inode",
        "kernel_gid",
        "kernel_uid",
        "mode",
        "uid",
    )

    def __init__(
        self, files: Files, location: bytes, fields: tuple[int, ...], *, follow: bool
    ) -> None:
        self.device, self.inode, self.mode, self.uid, self.gid = fields
        self.kernel_uid, self.kernel_gid = self.uid, self.gid
        self._files = files
        self._location = location
        self._follow = follow
        self._birth = -1

    def birth(self) -> int:
        """Return a number that tells this file from later files with the same inode number."""
        if self._birth < 0:
            self._birth = self._files.birth(self._location, follow=self._follow)
        return self._birth

    def born_at(self, seconds: int, nanoseconds: int) -> None:
        """Keep the time of the birth, which statx(2) has told."""
        self._birth = seconds * 1_000_000_000 + nanoseconds

    def overlay_side(self) -> int:
        """Return what ``Files.overlay_side`` says of the file."""
        return self._files.overlay_side(self._location, follow=self._follow)

    def mount(self) -> int:
        """Return the number of the mount on which the file is, 0 if it is gone."""
        return self._files.mount_number(self._location, follow=self._follow)

    def name(self) -> Name:
        """Return the name of the file; the path to it may lead through symbolic links.

        Leaves the buffers alone.
        """
        directory, _, last = self.path().rpartition(b"/")
        return os.stat(directory or b"/").st_ino, last

    def path(self) -> bytes:
        """Return the path of the file, which may be another file's by now.  Raises OSError."""
        if self._location.startswith(_OWN_DESCRIPTORS) and is_place(self._location):
            return os.readlink(self._location)
        with Closing(self.open()) as fd:
            return os.readlink(b"self/fd/%d" % fd)

    def changed(self) -> Status:
        """Make a change that changes nothing; return the file's status after that.

        Like any change, it sets the change time, and makes an overlay copy the file up, perhaps to
        another inode.  A file of another user stays as it is.  Raises OSError.
        """
        with Closing(self.open()) as fd:
            place = b"self/fd/%d" % fd
            try:
                if self.mode & S_IFMT == S_IFLNK:
                    os.chown(place, -1, -1)
                else:
                    os.chmod(place, self.mode & MODE_MASK)
            except PermissionError:
                return self
        return self._files.status(self._location, follow=self._follow)

    def attribute(self, name: bytes) -> bytes:
        """Return the inode's own extended attribute ``name``, or b"" without it."""
        try:
            return os.getxattr(self._location, name, follow_symlinks=self._follow)
        except OSError:
            return b""

    def watch(self, add: QuickFunction, fd: int, mask: int) -> int:
        """Call ``add``, which is inotify_add_watch(2), for the file; return the watch, or -1."""
        flags = 0 if self._follow else _IN_DONT_FOLLOW
        watch: int = add(fd, self._location, mask | flags)
        return watch

    def is_still_there(self) -> bool:
        """Tell whether the file is still at its location.  Leaves the buffers alone."""
        try:
            now = os.stat(self._location, follow_symlinks=self._follow)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == (self.device, self.inode)

    def open(self) -> int:
        """Return a descriptor of the file, opened with O_PATH."""
        flags = os.O_PATH | os.O_CLOEXEC | (0 if self._follow else os.O_NOFOLLOW)
        return os.open(self._location, flags)


class Files:
    """Looks at files; one buffer keeps the last answer of stat(2), another that of statx(2).

    found_inode, found_device
            the inode and device number that find_inode got, or 0
    found_ids
            user and group that find_inode got, as one word: 0 means that both are root's, or that
            no file is there

    ``unrecorded_owners`` knows the owners of files without a record, if the kernel does not know
    all IDs.
    """

    def __init__(self, abi: NotifyAbi, unrecorded_owners: UnrecordedOwners | None = None) -> None:
        self._unrecorded_owners = unrecorded_owners
        self._layout = layout = abi.stat
        self._buffer = Buffer()
        bytes_of_buffer = memoryview(self._buffer).cast("B")
        self.found_device = bytes_of_buffer[layout.device : layout.device + 8].cast("Q")
        self.found_inode = bytes_of_buffer[layout.inode : layout.inode + 8].cast("Q")
        self.found_ids = bytes_of_buffer[layout.uid : layout.gid + 4].cast("Q")
        self._pointer = byref(self._buffer)
        self._statx_buffer = Buffer()
        self._statx_pointer = byref(self._statx_buffer)
        self._syscall = quick_function("syscall")
        self._newfstatat = abi.numbers["newfstatat"]
        self._statx = abi.numbers["statx"]
        self.found_mount = False  # whether mount_number found the root of a mount
        self._handle = Buffer()
        # The kernel also writes the mount's ID, behind the handle, where nobody reads it.
        self._handle_pointers = byref(self._handle), byref(self._handle, 1024)
        self._name_to_handle_at = quick_function("name_to_handle_at")
        self._fchownat = quick_function("fchownat")

    def find_inode(self, location: bytes, flags: int) -> int:
        """Return the inode number of ``location``, or -1 if no file is there.

        In that case found() returns 0 as the number, the device and the owner.
        """
        dirfd = AT_FDCWD
        if location[:8] == _OWN_DESCRIPTORS:
            dirfd, location, flags = _beside(location, flags)
        if self._syscall(self._newfstatat, dirfd, location, self._pointer, flags):
            self.found_inode[0] = self.found_device[0] = self.found_ids[0] = 0
            return -1
        return self.found_inode[0]

    def find_open(self, fd: int) -> int:
        """Do what find_inode does, for the supervisor's own descriptor ``fd``."""
        if self._syscall(self._newfstatat, fd, b"", self._pointer, AT_EMPTY_PATH):
            self.found_inode[0] = self.found_device[0] = self.found_ids[0] = 0
            return -1
        return self.found_inode[0]

    def found(self, location: bytes, *, follow: bool) -> Status:
        """Return the status of ``location``, which find_inode has just found."""
        layout, buffer = self._layout, self._buffer
        fields = (
            *_DEVICE.unpack_from(buffer, layout.device),
            self.found_inode[0],
            *ID.unpack_from(buffer, layout.mode),
            *ID.unpack_from(buffer, layout.uid),
            *ID.unpack_from(buffer, layout.gid),
        )
        return self._described(location, fields, follow=follow)

    def _described(self, location: bytes, fields: tuple[int, ...], *, follow: bool) -> Status:
        status = Status(self, location, fields, follow=follow)
        if self._unrecorded_owners is not None and status.inode:
            status.uid, status.gid = self._unrecorded_owners.owner(status)
        return status

    def status(self, location: bytes, *, follow: bool = True) -> Status:
        """Return the status of ``location``; without ``follow``, of a symbolic link itself."""
        if self.find_inode(location, 0 if follow else AT_SYMLINK_NOFOLLOW) < 0:
            raise OSError(get_errno(), "stat")
        return self.found(location, follow=follow)

    def whole_status(self, location: bytes) -> Status:
        """Return the same as ``status``, with the mark of the birth, by one statx(2)."""
        self.statx(location, 0, _STATX_ALL)
        mask, uid, gid, mode, inode, seconds, nanoseconds, major, minor = _STATX_FIELDS.unpack_from(
            self._statx_buffer
        )
        device = os.makedev(major, minor)
        fields = (device, inode, mode, uid, gid)
        status = self._described(location, fields, follow=True)
        if mask & _STATX_BTIME:
            status.born_at(seconds, nanoseconds)
        return status

    def mount_number(self, location: bytes, *, follow: bool) -> int:
        """Return the number of the mount on which ``location`` is, 0 if no file is there.

        Sets ``found_mount``.  The number is that of proc(5), mountinfo.  The file system itself is
        not asked.
        """
        flags = _AT_STATX_DONT_SYNC | (0 if follow else AT_SYMLINK_NOFOLLOW)
        pointer, buffer = self._statx_pointer, self._statx_buffer
        if self._syscall(self._statx, AT_FDCWD, location, flags, _STATX_MNT_ID, pointer) < 0:
            self.found_mount = False
            return 0
        (attributes,) = _DEVICE.unpack_from(buffer, _STATX_ATTRIBUTES)
        self.found_mount = bool(attributes & _STATX_ATTR_MOUNT_ROOT)
        number: int
        (number,) = _DEVICE.unpack_from(buffer, _STATX_MOUNT)
        return number

    def overlay_side(self, location: bytes, *, follow: bool) -> int:
        """Return NO_OVERLAY, ONLY_ABOVE if only an upper directory has it, or _SIDE_UNKNOWN.

        A file of ONLY_ABOVE shows its own inode number.  The overlay's handle of a file tells in
        which directory the handle inside of it means the file, and prefers the lower ones
        (fs/overlayfs/export.c, ovl_check_encode_origin).  The kernel may give no handle.
        """
        _FILE_HANDLE.pack_into(self._handle, 0, _MAX_HANDLE_SZ, 0)
        flags = _AT_HANDLE_FID | (AT_SYMLINK_FOLLOW if follow else 0)
        if self._name_to_handle_at(AT_FDCWD, location, *self._handle_pointers, flags):
            return _SIDE_UNKNOWN
        _, kind = _FILE_HANDLE.unpack_from(self._handle)
        if kind == _FILEID_INO64_GEN:
            return _SIDE_UNKNOWN
        if kind != _OVL_FILEID_V1:
            return NO_OVERLAY
        magic, direction = _OVL_FH.unpack_from(self._handle, _FILE_HANDLE.size)
        is_above = magic == _OVL_FH_MAGIC and direction & _PATH_UPPER
        return ONLY_ABOVE if is_above else _SIDE_UNKNOWN

    def descriptor_status(self, fd: int) -> Status:
        """Return the status of the file that the supervisor's own descriptor ``fd`` refers to."""
        return self.status(b"self/fd/%d" % fd)

    def found_mode(self) -> int:
        """Return the mode of the file that find_inode has just found."""
        mode: int
        (mode,) = ID.unpack_from(self._buffer, self._layout.mode)
        return mode

    def found_owner(self) -> tuple[int, int]:
        """Return user and group of the file that find_inode has just found."""
        layout, buffer = self._layout, self._buffer
        return ID.unpack_from(buffer, layout.uid)[0], ID.unpack_from(buffer, layout.gid)[0]

    def change_owner(self, place: bytes, uid: int, gid: int) -> int:
        """Call chown(2) for a place (``lookup``); return 0 or an errno."""
        dirfd, name, flags = _beside(place, AT_SYMLINK_NOFOLLOW)
        return get_errno() if self._fchownat(dirfd, name, uid, gid, flags) else 0

    def is_symlink(self, location: bytes) -> bool:
        """Tell whether ``location`` is a symbolic link."""
        found = self.find_inode(location, AT_SYMLINK_NOFOLLOW) >= 0
        return found and self.found_mode() & S_IFMT == S_IFLNK

    def is_open_for_io(self, thread: int, fd: int) -> bool:
        """Tell whether descriptor ``fd`` of ``thread`` was opened without O_PATH.

        The mode of the link in /proc/PID/fd shows how the descriptor was opened.
        """
        status = self.status(descriptor(thread, fd), follow=False)
        return bool(status.mode & _READ_OR_WRITE)

    def birth(self, location: bytes, *, follow: bool) -> int:
        """Return the mark of the birth of ``location``: the time, in nanoseconds since 1970.

        If the file system does not know the time, the mark is a hash of the file handle, which
        contains the inode's generation (name_to_handle_at(2)).  Without a handle it is 0.
        """
        self.statx(location, 0 if follow else AT_SYMLINK_NOFOLLOW, _STATX_BTIME)
        buffer = self._statx_buffer
        if ID.unpack_from(buffer)[0] & _STATX_BTIME:
            seconds: int
            nanoseconds: int
            seconds, nanoseconds = _TIMESTAMP.unpack_from(buffer, STATX_BIRTH)
            return seconds * 1_000_000_000 + nanoseconds
        _FILE_HANDLE.pack_into(self._handle, 0, _MAX_HANDLE_SZ, 0)
        flags = AT_SYMLINK_FOLLOW if follow else 0
        if self._name_to_handle_at(AT_FDCWD, location, *self._handle_pointers, flags):
            return 0
        size, _ = _FILE_HANDLE.unpack_from(self._handle)
        start = _FILE_HANDLE.size
        # As a time, the hash is long past, so the nursery does not wait for the clock.
        return hash(bytes(memoryview(self._handle).cast("B")[start : start + size])) & 0xFFFFFFFF

    def emulated_stat(self, record: Record) -> bytes:
        """Return the ``struct stat`` that find_inode got, with what ``record`` says."""
        layout, buffer = self._layout, self._buffer
        ID.pack_into(buffer, layout.uid, record.uid)
        ID.pack_into(buffer, layout.gid, record.gid)
        (mode,) = ID.unpack_from(buffer, layout.mode)
        ID.pack_into(buffer, layout.mode, record.emulated_mode(mode))
        if record.device_type:
            _DEVICE.pack_into(buffer, layout.rdev, record.rdev)
        return bytes(memoryview(buffer).cast("B")[: layout.size])

    def statx(self, location: bytes, flags: int, mask: int) -> None:
        """Call statx(2) for emulated_statx."""
        dirfd = AT_FDCWD
        if location[:8] == _OWN_DESCRIPTORS:
            dirfd, location, flags = _beside(location, flags)
        if self._syscall(self._statx, dirfd, location, flags, mask, self._statx_pointer) < 0:
            raise OSError(get_errno(), "statx")

    def takes_null(self, *, is_open: bool) -> bool:
        """Tell whether statx(2) takes a null pointer with AT_EMPTY_PATH, as fstatat(2) does.

        ``is_open`` asks for a descriptor (Linux 6.11), else for AT_FDCWD (Linux 6.13).
        """
        dirfd = _ABSENT if is_open else AT_FDCWD
        failed = self._syscall(self._statx, dirfd, None, AT_EMPTY_PATH, 0, self._statx_pointer) < 0
        return not failed or get_errno() != errno.EFAULT

    def emulated_statx(self, record: Record) -> bytes:
        """Return the ``struct statx`` that statx got, with what ``record`` says."""
        buffer = self._statx_buffer
        _OWNER.pack_into(buffer, STATX_UID, record.uid, record.gid)
        (mode,) = _STATX_MODE_FIELD.unpack_from(buffer, STATX_MODE)
        _STATX_MODE_FIELD.pack_into(buffer, STATX_MODE, record.emulated_mode(mode))
        if record.device_type:
            pack_into("=II", buffer, STATX_RDEV, os.major(record.rdev), os.minor(record.rdev))
        return bytes(memoryview(buffer).cast("B")[:STATX_SIZE])


class LibraryFiles(Files):
    """``Files`` for kernels without newfstatat(2), where the C library calls statx(2) instead."""

    def __init__(self, abi: NotifyAbi, unrecorded_owners: UnrecordedOwners | None = None) -> None:
        super().__init__(abi, unrecorded_owners)
        self._fstatat = quick_function("fstatat")

    def find_inode(self, location: bytes, flags: int) -> int:
        """Do what Files.find_inode does."""
        dirfd = AT_FDCWD
        if location[:8] == _OWN_DESCRIPTORS:
            dirfd, location, flags = _beside(location, flags)
        if self._fstatat(dirfd, location, self._pointer, flags):
            self.found_inode[0] = self.found_device[0] = self.found_ids[0] = 0
            return -1
        return self.found_inode[0]

    def find_open(self, fd: int) -> int:
        """Do what Files.find_open does."""
        if self._fstatat(fd, b"", self._pointer, AT_EMPTY_PATH):
            self.found_inode[0] = self.found_device[0] = self.found_ids[0] = 0
            return -1
        return self.found_inode[0]


def _beside(place: bytes, flags: int) -> tuple[int, bytes, int]:
    """Return a ``place`` (``lookup``) as calls of the ``*at`` family name it, with their ``flags``.

    That spares the kernel the way through /proc, which takes longer than most others.
    """
    number, _, name = place[len(_OWN_DESCRIPTORS) :].partition(b"/")
    return int(number), name, flags if name else flags | AT_EMPTY_PATH


def file_system_type(fd: int) -> int:
    """Return the f_type of the file system of ``fd``, or 0 if statfs(2) fails."""
    if _FSTATFS(fd, _STATFS_POINTER):
        return 0
    word: int
    (word,) = _STATFS_TYPE.unpack_from(_STATFS_BUFFER)
    return word


def is_read_only(place: bytes) -> bool:
    """Tell whether the file at ``place`` is on a read-only mount: the kernel says so at first."""
    with Closing(os.open(place, os.O_PATH | os.O_CLOEXEC)) as fd:
        return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)


def sysctl(name: bytes) -> int:
    """Return the kernel's setting fs.``name``, 0 if there is none; the working directory is /proc.

    Raises OSError if the setting can't be read.
    """
    try:
        with open(b"sys/fs/" + name, "rb") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0
