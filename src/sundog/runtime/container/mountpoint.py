"""Find and make mount points in a container's root, never outside of it.

The calling process has already changed its root, so "/" and absolute symbolic links are the
container's.  Only a link of proc(5), such as ``/proc/1/root``, could still lead out.  Where
something is created, such a link is never followed.  No directory is created on another mount,
because that is a directory of the host, bound there.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import descriptor_path, kernel_error, printable
from sundog.base.kernel.modes import S_IFDIR, S_IFMT, S_IFREG
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.paths import lexists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INSIDE = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV


class MountPoint:
    """The mount point that a mount needs at ``path``: a directory, or else a file.

    With ``link``, it is a symbolic link to that instead, which itself is all that is wanted.
    """

    __slots__ = ("is_directory", "link", "path")

    def __init__(self, path: bytes, *, is_directory: bool, link: bytes = b"") -> None:
        self.path = path
        self.is_directory = is_directory
        self.link = link

    def make(self, parent: int, name: bytes) -> None:
        """Make it as ``name`` in ``parent``.  Raises OSError."""
        if self.link:
            os.symlink(self.link, name, dir_fd=parent)
        elif self.is_directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.mknod(name, S_IFREG | 0o644, dir_fd=parent)


def make_mount_point(point: MountPoint, *, inside: int = INSIDE) -> None:
    """Make ``point``, and the directories above it.

    Follows symbolic links on the way, as ``inside`` allows (RESOLVE_*).  Raises SundogError if it
    can't be made.
    """
    names = components(point.path)
    here = b"/"
    try:
        parent = openat2(AT_FDCWD, here, os.O_PATH | os.O_DIRECTORY, inside)
        for index, name in enumerate(names):
            here = b"/" + b"/".join(names[: index + 1])
            try:
                child = openat2(AT_FDCWD, here, os.O_PATH, inside)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                if index == len(names) - 1:
                    point.make(parent, name)
                else:
                    os.mkdir(name, 0o755, dir_fd=parent)
                child = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            os.close(parent)
            parent = child
        os.close(parent)
    except FileExistsError:
        # It leads nowhere, but it exists.
        raise SundogError(f"can't bind: broken symlink: {printable(here)}") from None
    except (OSError, KernelError) as error:
        fault, hint = _MOUNT_POINT_FAULTS.get(error.errno or 0, ("", ""))
        if not fault:
            raise kernel_error("mkdir", here, error.errno or 0) from None
        raise SundogError(f"can't bind: {printable(point.path)} {fault}", hint) from None


def reserve_mount_points(points: Iterable[MountPoint], lower: int, upper: int) -> None:
    """Reserve each of ``points`` as ``reserve_mount_point`` does.

    Many files of a driver go to one directory, which is looked up once.
    """
    known: dict[bytes, bytes] = {}  # the place in the upper of each directory
    for point in points:
        parent, _, name = point.path.rpartition(b"/")
        if parent not in known or name in (b"", b".", b".."):
            place = reserve_mount_point(point, lower, upper)
            if place:
                known[parent] = place
            continue
        place = known[parent] + name
        if not lexists(place, lower) and not lexists(place, upper):
            point.make(upper, place)


def reserve_mount_point(point: MountPoint, lower: int, upper: int) -> bytes:
    """Make in the directory ``upper`` the part of the ``point`` that the image ``lower`` lacks.

    For an overlay of the two that is not mounted yet.  Once it is mounted, nothing can be made in
    those of the image's directories that belong to another user.  So this also makes the
    directories that lead to the point in the upper, with their modes.  It does nothing if the point
    exists, or if ``make_mount_point`` will report an error.  Returns the place in the upper of the
    directory with the last name, with a slash at its end; b"" if it has done nothing.  Raises
    OSError.
    """
    names = components(point.path)
    there, missing = b".", list(names)  # the place of the existing names; the missing names
    while missing:
        here = b"/".join(names[: len(names) - len(missing) + 1])
        try:
            fd = openat2(lower, here, os.O_PATH, INSIDE | RESOLVE_IN_ROOT)
        except KernelError:
            break
        there = descriptor_path(fd)[len(descriptor_path(lower)) :].lstrip(b"/") or b"."
        blocked = os.stat(fd).st_mode & S_IFMT != S_IFDIR
        os.close(fd)
        if blocked:
            return b""
        del missing[0]
    if not missing or lexists(there + b"/" + missing[0], lower):
        return b""
    if b".." in missing:
        # Below the missing directory nothing can be a link, so this ".." leads back out of it.
        up = missing.index(b"..")
        place = [there, *missing[:up]]
        reserve_mount_point(MountPoint(b"/".join(place), is_directory=True), lower, upper)
        rest = b"/".join([*place[:-1], *missing[up + 1 :]])
        reserve_mount_point(
            MountPoint(rest, is_directory=point.is_directory, link=point.link), lower, upper
        )
        return b""
    made = b""
    for name in there.split(b"/"):
        made += name + b"/"
        _make_directory(made, os.stat(made, dir_fd=lower).st_mode & 0o7777, upper)
    for name in missing[:-1]:
        made += name + b"/"
        _make_directory(made, 0o755, upper)
    if not lexists(made + missing[-1], upper):
        point.make(upper, made + missing[-1])
    return made


def _make_directory(path: bytes, mode: int, parent: int) -> None:
    """Make the directory ``path`` below ``parent``, unless it exists."""
    try:
        os.mkdir(path, dir_fd=parent)
    except FileExistsError:
        return
    os.chmod(path, mode, dir_fd=parent)


def components(path: bytes) -> list[bytes]:
    """Return the names in ``path``."""
    return [name for name in path.split(b"/") if name not in (b"", b".")]


_MOUNT_POINT_FAULTS = {
    errno.EXDEV: (
        "is missing below another mount, where nothing is created",
        "create it on the host first, or choose a destination in the image itself",
    ),
    errno.EROFS: (
        "is not in the image, which is read-only",
        "use -W to create it for this one run",
    ),
    errno.ENOTDIR: ("is below something that is not a directory", ""),
    errno.ELOOP: ("leads through too many symlinks, or through a link in /proc", ""),
}
