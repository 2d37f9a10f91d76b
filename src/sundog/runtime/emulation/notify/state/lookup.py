"""Look up the names in a tracee's calls, and never take the supervisor for the tracee on the way.

Links in /proc lead each process to itself: ``self``, and below it ``fd/3``, ``cwd``, ``root``.  The
supervisor would find its own files there.  So the kernel must not follow such a link for it.

A location (``tracee.paths``) becomes a place: a path of the supervisor's own making.  ``self/fd/N``
is a file, ``self/fd/N/NAME`` a name in a directory, and N is a descriptor of the supervisor, open
with O_PATH.  The working directory is the supervisor's own /proc.  No link leads further from a
place.  So a handler changes what it has looked at, whatever programs exchange meanwhile.

For nearly all names the kernel does the look-up in one call.  RESOLVE_NO_MAGICLINKS forbids it all
links that lead to a file without a path.  ``self`` is a plain link, but without the other links it
leads to nothing except files of procfs.  So if the look-up fails, or finds a file of procfs, then
``Walk`` repeats it step by step.

A handler may look at a location itself, too, to find out that the kernel's own answer is right.
That shows the program nothing, and changes nothing.  What it finds may be a file of the supervisor,
so ``own`` has their numbers.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import Array, byref, get_errno
from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from sundog.base.kernel.numbers import OPENAT2
from sundog.runtime.emulation.notify.state.walk import NO_NAMES, Walk
from sundog.runtime.emulation.notify.tracee.memory import Word, quick_function
from sundog.runtime.emulation.notify.tracee.paths import SLASH, is_place, start_of_walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sundog.runtime.emulation.notify.state.files import Files
    from sundog.runtime.emulation.notify.state.walk import Visit

_PLACE_FLAGS = os.O_PATH | os.O_CLOEXEC
_FIRST_DESCRIPTORS = 64
# Here a location leads to the process that names it more often than not.
_OWN_PLACES = (b"/proc/", b"/dev/fd/", b"/dev/stdin", b"/dev/stdout", b"/dev/stderr")


class _OpenHow(Array[Word]):
    """``struct open_how``: flags, mode, resolve."""

    _type_ = Word
    _length_ = 3


class Lookup:
    """Finds places; they last until ``release``.

    held        the open descriptors of places
    own         the inode numbers of the files that the supervisor had open when it began
    stream      the descriptor through whose link in /proc the last walk ended, b"" for none
    """

    def __init__(self, files: Files, is_proc: Callable[[int, int], bool]) -> None:
        self._files = files
        self._is_proc = is_proc
        self.held: list[int] = []
        self.own = frozenset(_own_inodes())
        self.stream = b""
        self._syscall = quick_function("syscall")
        self._follows = _OpenHow(_PLACE_FLAGS, 0, RESOLVE_NO_MAGICLINKS)
        self._stays = _OpenHow(_PLACE_FLAGS | os.O_NOFOLLOW, 0, RESOLVE_NO_MAGICLINKS)
        self._within = byref(_OpenHow(_PLACE_FLAGS, 0, RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV))
        self._straight = byref(_OpenHow(_PLACE_FLAGS, 0, RESOLVE_NO_SYMLINKS))
        self._how = {True: byref(self._follows), False: byref(self._stays)}

    def file(
        self, thread: int, location: bytes, *, follow: bool = True, visit: Visit | None = None
    ) -> bytes:
        """Return the place of the file ``location``; without ``follow``, of a link itself.

        ``visit`` is called with each directory on the way, a descriptor.  ``Files.found`` knows the
        file.  Raises KernelAnswers, or OSError, if the kernel's own look-up gives the caller's
        answer.
        """
        fd = -1 if visit is not None else self._opened(location, follow=follow)
        if fd < 0:
            fd, _ = self._walk(thread, location, visit, follow=follow, is_named=False)
            self._files.find_open(fd)
        self.held.append(fd)
        return b"self/fd/%d" % fd

    def entry(
        self, thread: int, location: bytes, *, follow: bool = False, visit: Visit | None = None
    ) -> bytes:
        """Return the place of the name ``location``, whether or not there is a file.

        With ``follow``, a link there counts as what it leads to.  If the location ends without a
        name, or if the link leads to a file and to no name, then the place is no name (``is_place``
        tells).  Else see ``file``.
        """
        if visit is None and not is_place(location):
            directory, _, name = location.rstrip(b"/").rpartition(b"/")
            fd = -1 if name in NO_NAMES else self._opened(directory or b"/", follow=True)
            if fd >= 0:
                self.held.append(fd)
                slash = b"/" if location.endswith(b"/") else b""
                place = b"self/fd/%d/%b%b" % (fd, name, slash)
                if not follow or not self._files.is_symlink(place.rstrip(b"/")):
                    return place
        fd, name = self._walk(thread, location, visit, follow=follow, is_named=True)
        self.held.append(fd)
        return b"self/fd/%d/%b" % (fd, name) if name else b"self/fd/%d" % fd

    def is_missing(self, location: bytes) -> bool:
        """Tell whether there is no file ``location``, seen from here; no if in doubt.

        A way without links leads through none that leads a process to itself.  A way that leads
        over no other mount leads through no /proc, unless it begins in one.
        """
        if location[0] == SLASH:
            # In most images some directories are links, and few are mounts.
            return self._has_no(AT_FDCWD, location, self._within) or self._has_no(
                AT_FDCWD, location, self._straight
            )
        end = start_of_walk(location)
        path = location[end + 1 :]
        with Closing(os.open(location[:end], _PLACE_FLAGS)) as base:
            if self._has_no(base, path, self._straight):
                return True
            self._files.find_open(base)
            return not self._is_proc(self._files.found_device[0], base) and self._has_no(
                base, path, self._within
            )

    def _has_no(self, base: int, path: bytes, how: object) -> bool:
        """Tell whether openat2(2) finds no ``path`` below ``base`` with its third argument."""
        fd: int = self._syscall(OPENAT2, base, path, how, 24)
        if fd >= 0:
            os.close(fd)
        return fd < 0 and get_errno() == errno.ENOENT

    def pin(self, place: bytes) -> bytes:
        """Return the place of the file at ``place``, which may be a name, and follow no link."""
        if is_place(place):
            return place
        fd = os.open(place.rstrip(b"/"), _PLACE_FLAGS | os.O_NOFOLLOW)
        self.held.append(fd)
        return b"self/fd/%d" % fd

    def release(self) -> None:
        """Close what the last call needed."""
        for fd in self.held:
            os.close(fd)
        self.held.clear()

    def _walk(
        self,
        thread: int,
        location: bytes,
        visit: Visit | None,
        *,
        follow: bool,
        is_named: bool,
    ) -> tuple[int, bytes]:
        """Return what ``Walk.end`` does."""
        walk = Walk(self._files, thread, location, visit)
        try:
            end = walk.end(follow=follow, is_named=is_named)
        except BaseException:
            walk.give_up()
            raise
        self.stream = walk.stream
        return end

    def _opened(self, location: bytes, *, follow: bool) -> int:
        """Return a descriptor of ``location``, or -1 if only a walk can tell where it leads."""
        if location[0] == SLASH:
            fd: int = self._syscall(OPENAT2, AT_FDCWD, location, self._how[follow], 24)
        else:
            end = start_of_walk(location)
            if end < 0:
                fd = os.open(location, _PLACE_FLAGS)
                self._files.find_open(fd)
                return fd
            base = os.open(location[:end], _PLACE_FLAGS)
            rest = location[end + 1 :] or b"."
            fd = self._syscall(OPENAT2, base, rest, self._how[follow], 24)
            os.close(base)
        if fd >= 0:
            self._files.find_open(fd)
            if self._is_proc(self._files.found_device[0], fd):
                os.close(fd)
                return -1
        return fd


def names_own(location: bytes) -> bool:
    """Tell whether ``location`` is likely to name what belongs to the caller itself.

    Then the supervisor can learn nothing from a look of its own.
    """
    return location.startswith(_OWN_PLACES)


def _own_inodes() -> Iterator[int]:
    """Yield the inode numbers of the files that this process has open."""
    for fd in range(_FIRST_DESCRIPTORS):
        try:
            yield os.fstat(fd).st_ino
        except OSError:
            continue  # it is not open
