"""Copy a root file system into memory, for -W where the kernel refuses overlays.

The copy is a directory of the scratch tmpfs.  So it goes with the container, whatever ends that,
and nothing is left to clear.  It shows what an overlay of the root's lowers would show
(overlayfs.rst, "whiteouts and opaque directories"), but all of it belongs to the user, and hard
links stay links.

An image of another user may have files that this user may not read.  They are empty in the copy,
and no mode lets anybody in.  So are devices.

Few starts need this: it is a joined module of its own.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from sundog.base.kernel.mounts import (
    MS_NODEV,
    MS_NOSUID,
    MS_REMOUNT,
    OPEN_TREE_CLONE,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    mount,
    open_tree,
    openat2,
)
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.enter import cover_root
from sundog.runtime.container.paths import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.container.root import Root

_COPY_PLACE = b"copy"
COPY_LIMIT = b"50%"  # of the memory, for an image: what tmpfs(5) allows by default
_COPY_PIECE = 1 << 20  # bytes of a file in one call
_COPY_ROOM_GONE = (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT)
# The errors by which a directory stays empty: it is closed to the user, another mount (EXDEV), or
# removed meanwhile.
_COPY_UNREAD = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.ENOENT)
_COPY_WITHIN = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_LISTED_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OVERLAY_PREFIX = "user.overlay."
_OPAQUE_NAME = b"user.overlay.opaque"


def mount_copy(root: Root, scratch: int, refusal: KernelError, told: Callable[[str], None]) -> int:
    """Mount a copy of ``root`` in the ``scratch`` tmpfs; return the directory.

    ``refusal`` is the kernel's answer to an overlay.  ``told`` gets a line that says what happens
    instead.  The size of ``scratch`` remains what the command may write, beside the copy.  Changes
    the working directory.  Raises SundogError if the copy does not fit, and OSError.
    """
    told(f"copying the image into memory: this machine refuses overlays ({refusal})")
    room = os.fstatvfs(scratch).f_blocks  # 0: no limit, and none can follow
    os.mkdir(_COPY_PLACE, dir_fd=scratch)
    if room:
        _resize(scratch, COPY_LIMIT)
    base, lowers = root.lowers()
    os.chdir(base)
    with Closing(os.open(_COPY_PLACE, OPEN_DIRECTORY, dir_fd=scratch)) as target:
        copy = LowersCopy(target)
        try:
            for lower in reversed(lowers):
                copy.add(lower)
            copy.finish()
        except OSError as error:
            if error.errno not in _COPY_ROOM_GONE:
                raise
            raise SundogError(
                f"the image does not fit into {COPY_LIMIT.decode()} of the memory",
                "make a directory of it, to which the command may write: ch-convert IMAGE ./DIR; "
                "ch-run -w ./DIR",
            ) from None
    if copy.unread:
        told(f"files of the image that you may not read are empty in the copy: {copy.unread}")
    now = os.fstatvfs(scratch)
    if room:
        blocks = now.f_blocks - now.f_bfree + room
        _resize(scratch, b"%d" % (blocks * now.f_frsize))
    tree = open_tree(scratch, _COPY_PLACE, OPEN_TREE_CLONE)
    cover_root(tree)
    return tree


def _resize(scratch: int, size: bytes) -> None:
    """Give the tmpfs ``scratch`` another size: tmpfs(5)."""
    place = b"/proc/self/fd/%d" % scratch
    mount(None, place, None, MS_REMOUNT | MS_NOSUID | MS_NODEV, b"size=" + size)


class LowersCopy:
    """A merged copy of directories in the directory ``target``, which nobody else changes.

    ``unread`` counts the files and directories whose content could not be copied.
    """

    __slots__ = ("_links", "_target", "_times", "unread")

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: dict[tuple[int, int], bytes] = {}  # files with several names, of one lower
        self._times: dict[bytes, tuple[int, int]] = {}  # of directories, by path
        self.unread = 0

    def add(self, lower: bytes) -> None:
        """Copy what is in the directory ``lower`` over what is there.  Raises OSError."""
        self._links = {}
        with Closing(os.open(lower, _LISTED_DIRECTORY & ~os.O_NOFOLLOW)) as top:
            left = [b""]
            while left:
                left += self._add_directory(top, left.pop())

    def finish(self) -> None:
        """Give all directories their times, which each new file in them has changed."""
        for path, times in self._times.items():
            try:
                fd = openat2(self._target, path or b".", _LISTED_DIRECTORY, _COPY_WITHIN)
            except KernelError:
                continue  # an upper lower has something else there
            with Closing(fd):
                os.utime(fd, ns=times)

    def _add_directory(self, top: int, path: bytes) -> list[bytes]:
        """Copy the directory ``path`` of ``top``, which exists already; return those in it."""
        try:
            source = openat2(top, path or b".", _LISTED_DIRECTORY, _COPY_WITHIN | RESOLVE_NO_XDEV)
        except KernelError as error:
            if error.errno not in _COPY_UNREAD:
                raise
            self.unread += error.errno != errno.ENOENT
            return []
        found = []
        prefix = path + b"/" if path else b""
        target = os.open(path or b".", _LISTED_DIRECTORY, dir_fd=self._target)
        with Closing(source), Closing(target):
            status = os.fstat(source)
            if path and _is_opaque(source):
                for name in os.listdir(b"/proc/self/fd/%d" % target):
                    _remove_below(target, name)
            for name in os.listdir(b"/proc/self/fd/%d" % source):
                try:
                    if self._add_entry(source, target, name, prefix + name):
                        found.append(prefix + name)
                except FileNotFoundError:
                    continue  # it has been removed meanwhile
            os.fchmod(target, status.st_mode & 0o7777)
            _copy_attributes_of(source, target)
        self._times[path] = (status.st_atime_ns, status.st_mtime_ns)
        return found

    def _add_entry(self, source: int, target: int, name: bytes, path: bytes) -> bool:
        """Copy ``name``, which is at ``path``; tell whether it is a directory, still empty."""
        status = os.lstat(name, dir_fd=source)
        kind = status.st_mode & S_IFMT
        try:
            before = os.lstat(name, dir_fd=target).st_mode & S_IFMT
        except FileNotFoundError:
            before = 0
        if before and not before == kind == S_IFDIR:
            _remove_below(target, name)
            before = 0
        if kind == S_IFDIR:
            if not before:
                os.mkdir(name, status.st_mode & 0o7777, dir_fd=target)
                os.chmod(name, status.st_mode & 0o7777, dir_fd=target)
            return True
        if kind == S_IFCHR and not status.st_rdev:
            return False  # a whiteout
        key = status.st_dev, status.st_ino
        if key in self._links:
            os.link(
                self._links[key],
                name,
                src_dir_fd=self._target,
                dst_dir_fd=target,
                follow_symlinks=False,
            )
            return False
        self._make(source, target, name, status)
        if status.st_nlink > 1:
            self._links[key] = path
        return False

    def _make(self, source: int, target: int, name: bytes, status: os.stat_result) -> None:
        kind = status.st_mode & S_IFMT
        if kind == S_IFREG:
            try:
                original = os.open(
                    name,
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                    dir_fd=source,
                )
            except PermissionError:
                self._make_unread(target, name)
            else:
                with Closing(original):
                    _copy_file(original, target, name, status)
        elif kind == S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            try:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
                os.chmod(name, status.st_mode & 0o7777, dir_fd=target)
            except PermissionError:  # a device, which nobody could use
                os.mknod(name, S_IFREG, dir_fd=target)
        times = status.st_atime_ns, status.st_mtime_ns
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)

    def _make_unread(self, target: int, name: bytes) -> None:
        os.mknod(name, S_IFREG, dir_fd=target)
        self.unread += 1


def _copy_file(source: int, target: int, name: bytes, status: os.stat_result) -> None:
    """Copy the regular file ``source`` to ``name`` in ``target``.  Holes stay holes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with Closing(os.open(name, flags, 0o600, dir_fd=target)) as copy:
        end = 0
        while end < status.st_size:
            try:
                start = os.lseek(source, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # a hole up to the end
            end = os.lseek(source, start, os.SEEK_HOLE)
            while start < end:
                data = os.pread(source, min(end - start, _COPY_PIECE), start)
                if not data:  # it has become shorter
                    break
                start += os.pwrite(copy, data, start)
        os.truncate(copy, status.st_size)
        os.fchmod(copy, status.st_mode & 0o7777)
        _copy_attributes_of(source, copy)


def _copy_attributes_of(source: int, target: int) -> None:
    """Give an open file those extended attributes of another that it can have: xattr(7)."""
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        if not name.startswith(_OVERLAY_PREFIX):
            try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError:
                pass  # neither could the user set it


def _is_opaque(directory: int) -> bool:
    """Tell whether overlayfs would show nothing of the layers below in ``directory``."""
    try:
        return os.getxattr(directory, _OPAQUE_NAME) == b"y"
    except OSError:
        return False


def _remove_below(directory: int, name: bytes) -> None:
    """Remove ``name`` in ``directory``, and all below it.  Raises OSError."""
    try:
        os.unlink(name, dir_fd=directory)
        return
    except IsADirectoryError:
        left, emptied = [name], []
    while left:
        path = left.pop()
        emptied.append(path)
        with Closing(os.open(path, _LISTED_DIRECTORY, dir_fd=directory)) as fd:
            for inner in os.listdir(b"/proc/self/fd/%d" % fd):
                try:
                    os.unlink(inner, dir_fd=fd)
                except IsADirectoryError:
                    left.append(path + b"/" + inner)
    for path in reversed(emptied):
        os.rmdir(path, dir_fd=directory)
