"""File systems that a process of the container serves: FUSE, and overlays that may lie on it.

Each look at a file there is a request to that process.  To answer it, the process may make a
notified call, and wait for the supervisor.  So the supervisor does not look: the kernel answers the
call, and the caller alone waits.

Before the first such mount, none of this happens.  From then on, a call is checked before its
handler does anything: the mount of each file that the call names, and of each directory on the way
to it.  statx(2) tells the mount of an open file without a request (AT_STATX_DONT_SYNC); the lists
of mounts tell its type.  A mount that is in no list, such as one that was unmounted lazily, counts
as served.  The file system of the container's root does not: no process of the container serves it.
"""

from __future__ import annotations

import errno
import os
from select import POLLPRI, poll
from time import monotonic, sleep

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import (
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.walk import Walk
from sundog.runtime.emulation.notify.tracee.call import U32, KernelAnswers
from sundog.runtime.emulation.notify.tracee.descriptors import whole_text
from sundog.runtime.emulation.notify.tracee.named_files import named_files, used
from sundog.runtime.emulation.notify.tracee.paths import (
    CWD,
    SLASH,
    descriptor,
    is_place,
    located,
    start_of_walk,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Files
    from sundog.runtime.emulation.notify.tracee.call import Arguments
    from sundog.runtime.emulation.notify.tracee.memory import Memory
    from sundog.runtime.emulation.notify.tracee.paths import Paths

# By the first part of their names; fuse.sshfs is one of FUSE.
_SERVED = (b"fuse", b"fuseblk", b"autofs")
_MAY_BE_SERVED = (*_SERVED, b"overlay")
_MOUNTING_PATIENCE = 0.05  # seconds until a mount that was asked for must be there
_NAP = 0.0005  # seconds
_LIST_LIMIT = 1 << 24  # bytes
# The links in /proc/PID/fd of files on mounts of the kernel's own, which are in no list.
_NAMELESS = (b"socket:[", b"pipe:[", b"anon_inode:")

_OPEN_FLAGS = os.O_PATH | os.O_CLOEXEC
_STAYS = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
# These have their arguments behind a pointer.
_OPAQUE = ("socketcall",)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_FIRST_ADDRESS = 1 << 16  # vm.mmap_min_addr; smaller arguments are no pointers
_STRUCTURE = 256  # bytes that a handler reads or writes at once, as a rule
# In an entry of /proc/PID/pagemap: the page is there, or in swap.
_ENTRY = 8
_THERE = 3 << 62


def is_served(kind: bytes) -> bool:
    """Tell whether processes serve file systems of type ``kind``, as mount(2) names it."""
    return kind.partition(b".")[0] in _SERVED


class Served:
    """Tells which files the supervisor must not look at.

    has_begun   whether a process of the container has mounted what it serves
    """

    def __init__(self, files: Files, paths: Paths, memory: Memory) -> None:
        self._files = files
        self._paths = paths
        self._memory = memory
        self.has_begun = False
        self._list = -1
        self._root = 0
        # The numbers of mounts that are known to be harmless.  As long as no mount comes or goes,
        # they stay the numbers of these mounts.
        self._harmless: set[int] = set()
        self._changes = poll()  # proc_pid_mounts(5): tells of changes to the list, once
        self._mounting: tuple[int, bytes] | None = None

    def begin(self, thread: int) -> None:
        """Note that ``thread`` is about to mount a file system that a process serves."""
        self.has_begun = True
        self._paths.elsewhere = True
        self._mounting = thread, _mounts(thread)

    def prepare(self, thread: int) -> None:
        """Prepare the checks of a call of ``thread``; the supervisor has its own root now."""
        if self._list < 0:
            self._list = os.open(b"self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._changes.register(self._list, POLLPRI)
            self._root = self._files.mount_number(b"self/root", follow=True)
            self._harmless = {self._root}
        self._await_mount(thread)

    def check_root(self, thread: int) -> None:
        """Raise KernelAnswers if a process may serve the root of ``thread``."""
        with Closing(os.open(b"%d/root" % thread, _OPEN_FLAGS)) as root:
            self.check_open(thread, root)

    def check(self, thread: int, call: str, args: Arguments) -> None:
        """Raise KernelAnswers if a process may serve a file that a ``call`` of ``thread`` names.

        If the call names paths, the supervisor has the root of ``thread`` now.  Raises OSError.
        """
        if call in _OPAQUE:
            raise KernelAnswers
        self._check_memory(thread, used(call, args))
        for dirfd, address, follow in named_files(call, args):
            path = self._memory.read_string(thread, address) if address else b""
            if path:
                self.check_location(thread, located(thread, dirfd, path), follow=follow)
            else:
                place = b"%d/cwd" % thread if dirfd == CWD else descriptor(thread, dirfd)
                self.check_location(thread, place)

    def check_location(self, thread: int, location: bytes, *, follow: bool = True) -> None:
        """Raise KernelAnswers if the way to ``location`` leads over a file system that is served.

        The file, or a part of the way, need not be there.
        """
        if not self.has_begun:
            return
        end = 1 if location[0] == SLASH else start_of_walk(location)
        start = location if is_place(location) else location[:end]
        with Closing(os.open(start, _OPEN_FLAGS)) as base:
            self.check_open(thread, base)
            if start == location:
                return
            flags = _OPEN_FLAGS | (0 if follow else os.O_NOFOLLOW)
            try:
                os.close(openat2(base, location[end:].lstrip(b"/") or b".", flags, _STAYS))
            except KernelError as error:
                if error.errno in (errno.EXDEV, errno.ELOOP):
                    self._walk(thread, location, follow=follow)

    def check_open(self, thread: int, fd: int) -> None:
        """Raise KernelAnswers if a process may serve ``fd``, a descriptor of the supervisor."""
        number = self._files.mount_number(b"self/fd/%d" % fd, follow=True)
        if self._changes.poll(0):
            self._harmless = {self._root}
        if number in self._harmless or os.readlink(b"self/fd/%d" % fd).startswith(_NAMELESS):
            return
        # The lists are read after the file was opened, so they have its mount.
        kind = _kind(self._own_list(), number)
        if kind and kind not in _MAY_BE_SERVED:
            self._harmless.add(number)
            return
        kind = kind or _kind(_mounts(thread), number)
        if not kind or kind in _MAY_BE_SERVED:
            raise KernelAnswers

    def _walk(self, thread: int, location: bytes, *, follow: bool) -> None:
        """Do what ``check_location`` does for a way over several mounts."""
        walk = Walk(_Checked(self, self._files, thread), thread, location, _nothing)
        try:
            end, _ = walk.end(follow=follow, is_named=False)
        except OSError:
            walk.give_up()  # the handler will not come further
            return
        except BaseException:
            walk.give_up()
            raise
        with Closing(end):
            self.check_open(thread, end)

    def _await_mount(self, thread: int) -> None:
        """Wait until a mount that another thread has asked for is there, or can't be expected.

        Else it could appear on a way that was just checked.
        """
        if self._mounting is None:
            return
        mounter, before = self._mounting
        self._mounting = None
        deadline = monotonic() + _MOUNTING_PATIENCE
        try:
            while mounter != thread and _mounts(mounter) == before and monotonic() < deadline:
                sleep(_NAP)
        except OSError:
            return  # the mounter has ended

    def _check_memory(self, thread: int, args: Arguments) -> None:
        """Raise KernelAnswers if an argument points to a page that a process would have to serve.

        Raises OSError.
        """
        pointers = [arg for arg in args if arg >= _FIRST_ADDRESS and not _is_negative(arg)]
        if not pointers:
            return
        try:
            with Closing(os.open(b"%d/pagemap" % thread, os.O_RDONLY | os.O_CLOEXEC)) as pages:
                absent = [pointer for pointer in pointers if not _is_there(pages, pointer)]
        except FileNotFoundError:  # the kernel has no such file
            absent = pointers
        if not absent:
            return
        lists = (self._own_list(), _mounts(thread))
        devices = {device for text in lists for device in _served_devices(text)}
        with Closing(os.open(b"%d/maps" % thread, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            maps = whole_text(fd, _LIST_LIMIT)
        for line in maps.split(b"\n"):
            words = line.split(None, 4)  # range, permissions, offset, device, ...
            if len(words) > 3 and words[3] in devices:
                start, end = (int(word, 16) for word in words[0].split(b"-"))
                if any(start < pointer + _STRUCTURE and pointer < end for pointer in absent):
                    raise KernelAnswers

    def _own_list(self) -> bytes:
        """Return the mounts of the supervisor: proc(5), mountinfo."""
        os.lseek(self._list, 0, 0)  # SEEK_SET
        return whole_text(self._list, _LIST_LIMIT)


class _Checked:
    """The files that a ``Walk`` looks at: it ends before one that is served."""

    __slots__ = ("_files", "_served", "_thread")

    def __init__(self, served: Served, files: Files, thread: int) -> None:
        self._served = served
        self._files = files
        self._thread = thread

    def find_open(self, fd: int) -> int:
        """Do what Files.find_open does.  Raises KernelAnswers."""
        self._served.check_open(self._thread, fd)
        return self._files.find_open(fd)

    def found_mode(self) -> int:
        """Do what Files.found_mode does."""
        return self._files.found_mode()


def _nothing(_directory: int) -> None:
    """Visit a directory: the walk has looked at it."""


def _mounts(thread: int) -> bytes:
    """Return the mounts that ``thread`` sees below its root.  Raises OSError."""
    with Closing(os.open(b"%d/mountinfo" % thread, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        return whole_text(fd, _LIST_LIMIT)


def _kind(mounts: bytes, number: int) -> bytes:
    """Return the first part of the type of the mount ``number``; b"" if it is not there."""
    rest = (b"\n" + mounts).partition(b"\n%d " % number)[2]
    described = rest.partition(b"\n")[0].partition(b" - ")[2]
    return described.partition(b" ")[0].partition(b".")[0]


def _served_devices(mounts: bytes) -> list[bytes]:
    """Return the devices of what may be served among ``mounts``, as /proc/PID/maps writes them."""
    found = []
    for line in mounts.split(b"\n"):
        fields, _, described = line.partition(b" - ")
        if described.partition(b" ")[0].partition(b".")[0] in _MAY_BE_SERVED:
            major, minor = (int(number) for number in fields.split(b" ")[2].split(b":"))
            found.append(b"%02x:%02x" % (major, minor))
    return found


def _is_negative(arg: int) -> bool:
    """Tell whether ``arg`` is a small negative number, such as AT_FDCWD, and no pointer."""
    return arg >> 12 in (U32 >> 12, (1 << 52) - 1)


def _is_there(pages: int, pointer: int) -> bool:
    """Tell whether the pages of a structure at ``pointer`` are in memory.

    ``pages`` is the open /proc/PID/pagemap.
    """
    first, last = pointer // _PAGE, (pointer + _STRUCTURE - 1) // _PAGE
    entries = os.pread(pages, _ENTRY * (last - first + 1), _ENTRY * first)
    words = memoryview(entries[: len(entries) // _ENTRY * _ENTRY]).cast("Q")
    return len(words) == last - first + 1 and all(word & _THERE for word in words)
