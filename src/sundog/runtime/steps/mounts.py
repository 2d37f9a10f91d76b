"""The mounts of a build's step, which leave no trace in the step's layer.

A mount point that the image lacks is made for the step, and is removed when the command has ended.
The directory that it was in gets its time back.  The source of a mount is taken hold of before the
change of root, as for all ``operations``.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    UMOUNT_NOFOLLOW,
    mount_setattr,
    open_tree,
    openat2,
    umount2,
)
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.mountpoint import INSIDE, MountPoint, make_mount_point
from sundog.runtime.container.operations import CREATED, DetachedMount, own_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.container.root import Root


class Traceless:
    """A mount whose mount point, if it was missing, is removed before the layer is committed.

    ``inside`` says how the mount point is looked up (RESOLVE_*): not across mounts, unless it is on
    a mount where mount points may be made.
    """

    __slots__ = (
        "_inside",
        "_link",
        "_made",
        "_mount",
        "_restored",
        "destination",
        "is_own",
        "need",
    )

    def __init__(self, mounted: DetachedMount, inside: int = INSIDE) -> None:
        self._mount = mounted
        self._inside = inside
        self._made: list[bytes] = []  # the innermost first
        self._link = b""  # where it leads if it is a symbolic link
        # The directory with the outermost one: its times before, and its change time after.
        self._restored: tuple[bytes, tuple[int, int], int] | None = None
        self.destination = mounted.destination
        self.need = mounted.need
        self.is_own = mounted.is_own

    def describe(self) -> str:
        """Describe in one line what it does."""
        return self._mount.describe()

    def acquire(self) -> None:
        """Take hold of the source on the host."""
        self._mount.acquire()

    def generate(self, scratch: int) -> None:
        """Make the source in the ``scratch`` tmpfs."""
        self._mount.generate(scratch)

    def inspect(self, root: int, scratch: int) -> None:
        """Make in ``scratch`` what depends on the mounted ``root``."""
        self._mount.inspect(root, scratch)
        self.destination, self.need = self._mount.destination, self._mount.need

    def mount_point(self) -> MountPoint:
        """Return what has to be at its destination."""
        return self._mount.mount_point()

    def attach(self) -> None:
        """Mount it at its destination; make a missing mount point."""
        path = self.destination
        while not os.path.lexists(path):
            self._made.append(path)
            path = os.path.dirname(path)
        if self._made:
            # A symlink that leads nowhere exists, and make_mount_point reports it.
            before = os.stat(path) if os.path.exists(path) else os.lstat(path)
            point = self.mount_point()
            self._link = point.link
            make_mount_point(point, inside=self._inside)
            times = (before.st_atime_ns, before.st_mtime_ns)
            self._restored = path, times, os.stat(path).st_mtime_ns
        self._mount.attach()

    def remove(self) -> None:
        """Unmount it and remove its new mount point, unless the command put something there."""
        if self._restored is None:
            return
        try:
            if not self._link:
                umount2(self.destination, MNT_DETACH | UMOUNT_NOFOLLOW)
            elif os.readlink(self.destination) != self._link:
                return
            parent, times, changed = self._restored
            is_as_it_was = os.stat(parent).st_mtime_ns == changed
            for path in self._made:
                if os.path.isdir(path) and not os.path.islink(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)
            if is_as_it_was:
                os.utime(parent, ns=times)
        except (KernelError, OSError):
            return  # the command moved or filled it, so it belongs to the layer


class TreeMount(DetachedMount):
    """Show ``path`` in ``root``, where symbolic links lead as in a root directory."""

    __slots__ = ("path", "root")

    def __init__(
        self,
        root: Root,
        path: bytes,
        destination: bytes,
        *,
        writable: bool = False,
    ) -> None:
        super().__init__(destination, CREATED, writable=writable)
        self.root = root
        self.path = path

    def what(self) -> str:
        """See ``DetachedMount``."""
        return f"bind {printable(self.path)} of {self.root!r}"

    def generate(self, scratch: int) -> None:
        """Copy the mount of a part of the root.  May change the working directory."""
        top, recursive = self.root.show(own_directory(scratch, self.destination))
        self.take(top, recursive)

    def take(self, top: int, recursive: int) -> None:
        """Copy the mount of ``path`` below the directory ``top``, and close ``top``."""
        try:
            resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            found = openat2(top, self.path or b".", os.O_PATH | os.O_CLOEXEC, resolve)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            raise SundogError(f"can't bind: source not found: {printable(self.path)}") from None
        finally:
            os.close(top)
        self.tree = open_tree(found, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive)
        os.close(found)
        if not self.writable:
            mount_setattr(self.tree, b"", AT_EMPTY_PATH | recursive, MOUNT_ATTR_RDONLY)


def arranged(mounts: Sequence[DetachedMount], around: Sequence[DetachedMount]) -> list[Traceless]:
    """Return ``mounts`` in the order of attaching: a mount inside another comes later.

    ``around`` are mounts that are there before.
    Mount points are made in writable mounts; the host keeps nothing of what is written to those.
    """
    ordered = sorted(mounts, key=_depth)
    return [
        Traceless(
            inner,
            RESOLVE_NO_MAGICLINKS if _lies_on_writable(inner, [*around, *ordered[:at]]) else INSIDE,
        )
        for at, inner in enumerate(ordered)
    ]


def _lies_on_writable(inner: DetachedMount, outer: Sequence[DetachedMount]) -> bool:
    """Tell whether the destination of ``inner`` is below that of a writable one of ``outer``."""
    return any(
        each.writable and inner.destination.startswith(each.destination + b"/") for each in outer
    )


def _depth(operation: DetachedMount) -> int:
    """Return the number of names in the mount point's path."""
    return operation.destination.count(b"/")
