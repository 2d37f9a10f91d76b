"""Calls that show an owner or a type: stat(2), statx(2) and their family; getdents(2).

Three of four calls in a build end here, and few of the files have a record.  The supervisor makes
one stat(2) of its own, and leaves the call to the kernel if the file has no record, the user of the
container owns it, and it is not in a /proc.

It does not leave a call to the kernel that finds no file.  Before the kernel looks, the supervisor
may have made the file for another user, and the kernel would show it as root's.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import Struct, addressof
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import syscall
from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.lookup import names_own
from sundog.runtime.emulation.notify.tracee.call import (
    CONTINUE,
    U32,
    Answer,
    KernelAnswers,
    Refused,
)
from sundog.runtime.emulation.notify.tracee.descriptors import take_descriptor
from sundog.runtime.emulation.notify.tracee.memory import TRANSFER_LIMIT, Buffer
from sundog.runtime.emulation.notify.tracee.paths import CWD, is_place, located, start_of_walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.state.record import Record
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_STAT_FLAGS = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
_SYNC_TYPE = 0x6000  # AT_STATX_SYNC_TYPE: one of its two bits, or none
_STATX_FLAGS = _STAT_FLAGS | _SYNC_TYPE
_STATX_RESERVED = 1 << 31

# These show a file's type alone, and so only what records say.
LISTING = ("getdents", "getdents64")

# struct linux_dirent64 and struct linux_dirent begin with inode, offset and length.  In the former
# follow type and name; in the latter the name, and the type as the last byte.
DIRENT = Struct("=QqH")


class StatHandlers:
    """Answer for files with a record, for those of other users of the host, and for processes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._read_string = state.memory.read_string
        self._named = state.paths.named
        self._find_inode = state.files.find_inode
        self._lookup = state.lookup
        self._own = state.lookup.own
        self._by_inode = state.records.by_inode
        self._linked = state.records.linked
        self._unrecorded_owners = state.unrecorded_owners
        self._volumes = state.volumes
        self._access = Access(state) if state.strict else None
        self._ids = state.files.found_ids
        self._device = state.files.found_device
        self._other_devices = state.processes.others

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "stat": self.stat,
            "lstat": self.lstat,
            "fstat": self.fstat,
            "newfstatat": self.newfstatat,
            "statx": self.statx,
            "getdents": self.getdents,
            "getdents64": self.getdents64,
        }

    def stat(self, thread: int, args: Arguments) -> Answer:
        """int stat(const char *path, struct stat *buf)."""
        return self._show(thread, self._named(thread, CWD, args[0]), 0, args[1])

    def lstat(self, thread: int, args: Arguments) -> Answer:
        """int lstat(const char *path, struct stat *buf)."""
        location = self._named(thread, CWD, args[0])
        return self._show(thread, location, AT_SYMLINK_NOFOLLOW, args[1])

    def fstat(self, thread: int, args: Arguments) -> Answer:
        """int fstat(int fd, struct stat *buf)."""
        location = b"%d/fd/%d" % (thread, args[0] & U32)
        return self._show(thread, location, 0, args[1])

    def newfstatat(self, thread: int, args: Arguments) -> Answer:
        """int fstatat(int dirfd, const char *path, struct stat *buf, int flags)."""
        location, flags = self._target(thread, args[0], args[1], args[3])
        return self._show(thread, location, flags & _STAT_FLAGS, args[2])

    def statx(self, thread: int, args: Arguments) -> Answer:
        """int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *buf)."""
        location, flags = self._target(thread, args[0], args[1], args[2])
        if flags & _SYNC_TYPE == _SYNC_TYPE or args[3] & _STATX_RESERVED:
            return CONTINUE  # EINVAL comes before errors of the path
        if self._seems_true(thread, location, flags & _STAT_FLAGS):
            return CONTINUE
        files = self._state.files
        place, record = self._found(thread, location, flags)
        if record is None:
            return CONTINUE
        files.statx(place, flags & _STATX_FLAGS & ~AT_SYMLINK_NOFOLLOW, args[3] & U32)
        self._state.listener.confirm()
        return self._state.memory.write(thread, args[4], files.emulated_statx(record))

    def _target(self, thread: int, dirfd: int, address: int, flags: int) -> tuple[bytes, int]:
        """Return location and flags; like Paths.at, but fast for the empty path."""
        if flags & U32 & ~(_STATX_FLAGS | AT_EMPTY_PATH):
            raise KernelAnswers  # EINVAL comes before errors of the path
        path = self._read_string(thread, address) if address else b""
        if path:
            return located(thread, dirfd, path), flags
        if not flags & AT_EMPTY_PATH:
            raise KernelAnswers
        if not address and not self._state.files.takes_null(is_open=dirfd & U32 != CWD):
            raise KernelAnswers
        dirfd &= U32
        location = b"%d/cwd" % thread if dirfd == CWD else b"%d/fd/%d" % (thread, dirfd)
        return location, flags & ~AT_SYMLINK_NOFOLLOW

    def _seems_true(self, thread: int, location: bytes, flags: int) -> bool:
        """Look at a file; tell whether at first sight the kernel's own answer is right.

        Raises Refused if there is no file.
        """
        inode = self._find_inode(location, flags)
        checks = self._access is not None and self._access.user(thread) is not None
        if checks and not is_place(location):
            return False  # the caller may not be allowed to look
        if inode < 0 and not is_place(location):
            if self._lookup.is_missing(location):
                raise Refused(errno.ENOENT)
            return False
        return (
            inode not in self._by_inode
            and inode not in self._own
            and not self._ids[0]
            and self._device[0] in self._other_devices
            and not self._linked
            and self._unrecorded_owners is None
            and not names_own(location)
            and (self._volumes is None or self._device[0] == self._volumes.root_device)
        )

    def _found(self, thread: int, location: bytes, flags: int) -> tuple[bytes, Record | None]:
        """Return the place of a file, and what stat(2) says of it; None if the kernel is right.

        A program may have exchanged links since the first look.  Raises Refused if there is no
        file.
        """
        files, follow = self._state.files, not flags & AT_SYMLINK_NOFOLLOW
        if is_place(location):  # ``_seems_true`` has found it
            return location, self._seen(thread, files.found(location, follow=True))
        find = self._lookup.file if self._access is None else self._access.file
        try:
            place = find(thread, location, follow=follow)
        except FileNotFoundError:
            # Without the directory where the way begins, the kernel says EBADF.
            os.close(os.open(location[: start_of_walk(location)], os.O_PATH | os.O_CLOEXEC))
            raise Refused(errno.ENOENT) from None
        return place, self._seen(thread, files.found(place, follow=True))

    def _seen(self, thread: int, status: Status) -> Record | None:
        """Return what stat(2) says of a file to ``thread``; None if the kernel is right."""
        record = self._state.shown(status)
        return None if record is None else self._state.user_namespaces.seen(thread, record)

    def _show(self, thread: int, location: bytes, flags: int, address: int) -> Answer:
        """Answer with what the kernel says of ``location``, changed by what the record says."""
        if self._seems_true(thread, location, flags):
            return CONTINUE
        place, record = self._found(thread, location, flags)
        if record is None:
            return CONTINUE
        self._state.listener.confirm()
        return self._state.memory.write(thread, address, self.shown(place, record))

    def shown(self, _place: bytes, record: Record) -> bytes:
        """Return the structure for what find_inode got, changed by what ``record`` says.

        Raises KernelAnswers if the structure can't hold it: the kernel will say EOVERFLOW.
        """
        return self._state.files.emulated_stat(record)

    def getdents64(self, thread: int, args: Arguments) -> Answer:
        """ssize_t getdents64(int fd, void *entries, size_t size)."""
        return self._list(thread, args, "getdents64", name=DIRENT.size + 1, type_last=False)

    def getdents(self, thread: int, args: Arguments) -> Answer:
        """int getdents(unsigned fd, struct linux_dirent *entries, unsigned size)."""
        return self._list(thread, args, "getdents", name=DIRENT.size, type_last=True)

    def _list(
        self, thread: int, args: Arguments, call: str, *, name: int, type_last: bool
    ) -> Answer:
        """Read a directory for the caller, and give devices their type.

        find(1) believes the types in a directory, and does not look at the files.
        """
        if not self._state.records.devices:
            return CONTINUE
        size = min(args[2] & U32, TRANSFER_LIMIT)
        with Closing(take_descriptor(self._state.abi, thread, args[0])) as taken:
            entries = self.read_entries(taken, call, size)
            start = 0
            while start < len(entries):
                inode, _, length = DIRENT.unpack_from(entries, start)
                if inode in self._by_inode:
                    entry, _, _ = bytes(entries[start + name : start + length]).partition(b"\0")
                    kind = self._device_type(b"self/fd/%d/%b" % (taken, entry))
                    if kind:
                        at = start + length - 1 if type_last else start + DIRENT.size
                        entries[at] = kind >> 12
                start += length
        return self.write_entries(thread, args[1], bytes(entries), call)

    def read_entries(self, directory: int, call: str, size: int) -> bytearray:
        """Return what ``call`` reads from a descriptor.  Raises KernelAnswers if it fails."""
        buffer = Buffer()
        got = syscall(self._state.abi.numbers[call], directory, addressof(buffer), size)
        if got < 0:
            raise KernelAnswers
        return bytearray(memoryview(buffer).cast("B")[:got])

    def write_entries(self, thread: int, address: int, entries: bytes, _call: str) -> int:
        """Write what ``_call`` has read into the caller's memory; return the number of bytes."""
        return self._state.memory.write(thread, address, entries) or len(entries)

    def _device_type(self, place: bytes) -> int:
        """Return S_IFCHR or S_IFBLK if the file at ``place`` stands for a device, else 0."""
        try:
            status = self._state.files.status(place, follow=False)
        except OSError:
            return 0
        record = self._state.records.find(status)
        return 0 if record is None else record.device_type
