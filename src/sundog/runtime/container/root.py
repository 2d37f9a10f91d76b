"""The kinds of a container's root file system, and how each is mounted.

The store's drivers and ``launcher/image.py`` make roots.  Until ``mount``, a root is a plain value.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.mounts import AT_RECURSIVE, MS_RDONLY
from sundog.base.kernel.overlay import mount_layers
from sundog.errors import KernelError
from sundog.runtime.container.enter import copy_tree, cover_root, topmost_mount
from sundog.runtime.container.mountpoint import reserve_mount_points
from sundog.runtime.container.paths import OPEN_DIRECTORY, shown_path

_OVERLAY_HINT = (
    "for -W the image must be on a file system that can be overlaid, "
    "and nothing may be mounted inside it"
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from sundog.runtime.container.mountpoint import MountPoint

    class Root(Protocol):
        """A kind of root file system.

        directory  the directory that shows all of it; b"" if it must be mounted to be seen
        binds      mounts over it, inside: pairs of source (a host path) and destination
                   (relative to the root, which exists there and is not a symlink)
        """

        @property
        def directory(self) -> bytes: ...  # noqa: D102
        @property
        def binds(self) -> tuple[tuple[bytes, bytes], ...]: ...  # noqa: D102

        def describe(self, *, writable: bool) -> str:
            """Describe in one line what is mounted."""

        def hold(self, *, writable: bool) -> int:
            """Take hold of the host's files before any mount; return the argument of mount."""

        def mount(self, held: int) -> int:
            """Mount it on top of everything else at "/"; return the directory, with O_PATH.

            Changes the working directory.  The plan takes care of the ``binds``.
            """

        def show(self, place: bytes) -> tuple[int, int]:
            """Return the root directory, with O_PATH, and the flag (AT_RECURSIVE) to copy it.

            If it must be mounted, it is mounted at ``place``, an empty directory.
            """

        def lowers(self) -> tuple[bytes, list[bytes]]:
            """Return the lowers of an overlay on top of it: a base, and names relative to it."""

        def unchanged(self) -> Root:
            """Return the root without the changes that were written to it."""


class DirectoryRoot:
    """A directory that is the root itself: an unpacked image, or a flattened tree.

    The ``copy`` driver puts an image's own ``ch/`` on the shared tree by ``binds``.  ``copied`` are
    the trees of the layers of which it is a copy: whoever mounts it may look at them.
    """

    __slots__ = ("binds", "copied", "path")

    def __init__(
        self,
        path: bytes,
        binds: tuple[tuple[bytes, bytes], ...] = (),
        *,
        copied: Sequence[bytes] = (),
    ) -> None:
        self.path = path
        self.binds = binds
        self.copied = copied

    def __repr__(self) -> str:
        return f"DirectoryRoot({self.path!r}, {self.binds!r})"

    @property
    def directory(self) -> bytes:
        """Return the directory."""
        return self.path

    def describe(self, *, writable: bool) -> str:
        """See ``Root``."""
        return f"mount {shown_path(self.path)} at / ({'read-write' if writable else 'read-only'})"

    def hold(self, *, writable: bool) -> int:
        """See ``Root``: a copy of the mount, read-only unless ``writable``, with all below it."""
        return copy_tree(self.path, writable=writable)

    def mount(self, held: int) -> int:
        """See ``Root``."""
        cover_root(held)
        return held

    def show(self, _place: bytes) -> tuple[int, int]:
        """See ``Root``."""
        return os.open(self.path, OPEN_DIRECTORY), AT_RECURSIVE

    def lowers(self) -> tuple[bytes, list[bytes]]:
        """See ``Root``."""
        return b"/", [self.path]

    def unchanged(self) -> Root:
        """See ``Root``: a directory does not tell what was written to it."""
        return self


class OverlayRoot:
    """Layers stacked by overlayfs: the topmost first, and perhaps an ``upper``.

    Every path is relative to the directory ``base``, or absolute.  The mount is made after a chdir
    to ``base``, because the names of all layers must fit into one page (mount(2)).  ``upper`` and
    ``work`` belong together; without them, the mount is read-only.  ``volatile`` leaves out all
    syncing of the upper (Linux 5.10).  The kernel mounts a volatile upper only once, because a
    crash may have lost what was written to it (overlayfs.rst, "Volatile mount").  ``again`` says
    that there was no crash.  ``mixed`` says that the layers are on several file systems.
    """

    __slots__ = ("again", "base", "layers", "mixed", "upper", "volatile", "work")

    binds: tuple[tuple[bytes, bytes], ...] = ()
    directory = b""

    def __init__(
        self,
        base: bytes,
        layers: list[bytes],
        upper: bytes | None = None,
        work: bytes | None = None,
        *,
        volatile: bool = False,
        again: bool = False,
        mixed: bool = False,
    ) -> None:
        self.again = again
        self.mixed = mixed
        self.base = base
        self.layers = layers
        self.upper = upper
        self.work = work
        self.volatile = volatile

    def __repr__(self) -> str:
        return f"OverlayRoot({self.base!r}, {self.layers!r}, {self.upper!r}, {self.work!r})"

    def describe(self, *, writable: bool) -> str:  # noqa: ARG002 - the upper decides
        """See ``Root``."""
        layers = f"overlay {len(self.layers)} directories of {shown_path(self.base)} at /"
        return f"{layers} ({'read-only' if self.upper is None else 'read-write'})"

    def hold(self, *, writable: bool) -> int:  # noqa: ARG002
        """See ``Root``: nothing; the layers stay in their place."""
        return -1

    def mount(self, _held: int) -> int:
        """See ``Root``.  Raises KernelError, and OSError if there is no base."""
        self._mount_at(b"/")
        return topmost_mount()

    def show(self, place: bytes) -> tuple[int, int]:
        """See ``Root``."""
        self._mount_at(place)
        return os.open(place, OPEN_DIRECTORY), 0

    def lowers(self) -> tuple[bytes, list[bytes]]:
        """See ``Root``."""
        return self.base, self.layers

    def unchanged(self) -> Root:
        """See ``Root``: a read-only view of the layers."""
        if len(self.layers) == 1:  # overlayfs needs two
            return DirectoryRoot(b"%b/%b" % (self.base, self.layers[0]))
        return OverlayRoot(self.base, self.layers, mixed=self.mixed)

    def _mount_at(self, place: bytes) -> None:
        os.chdir(self.base)
        if self.again and self.work is not None:
            _forget_volatile_mount(self.work)
        mount_layers(
            place,
            self.layers,
            self.upper,
            self.work,
            flags=0 if self.upper else MS_RDONLY,
            volatile=self.volatile,
            # Inode numbers stay unique even if the upper is on another file system.
            xino=self.mixed or self.upper is not None,
        )


def _forget_volatile_mount(work: bytes) -> None:
    """Remove the kernel's mark that the work directory ``work`` was that of a volatile mount."""
    mark = work + b"/work/incompat/volatile"
    try:
        os.unlink(mark + b"/dirty")
        os.rmdir(mark)
    except FileNotFoundError:
        return


def trees_of(roots: Iterable[Root]) -> list[bytes]:
    """Return the directories of layers of which ``roots`` are made, before any mount."""
    trees: list[bytes] = []
    for root in roots:
        if isinstance(root, DirectoryRoot):
            trees += root.copied
        base, names = root.lowers()
        trees += [name if name.startswith(b"/") else b"%b/%b" % (base, name) for name in names]
    return trees


def mount_root(root: Root, *, writable: bool = False) -> int:
    """Mount a root file system; return its directory.  Changes the working directory."""
    return root.mount(root.hold(writable=writable))


def mount_overlaid(root: Root, scratch: int, mount_points: list[MountPoint]) -> int:
    """Mount ``root`` below an upper in the ``scratch`` tmpfs; return the directory.

    Layers belong to this user, so mount points can be made in them later.  A directory may belong
    to another user.  So this makes missing ``mount_points`` in the upper now.  Changes the working
    directory.
    """
    for name in (b"upper", b"work"):
        os.mkdir(name, dir_fd=scratch)
    place = b"/proc/self/fd/%d/" % scratch
    upper, work = place + b"upper", place + b"work"
    if root.directory:
        lower_fd, upper_fd = os.open(root.directory, OPEN_DIRECTORY), os.open(upper, OPEN_DIRECTORY)
        reserve_mount_points(mount_points, lower_fd, upper_fd)
        # By a link to /proc/self/fd, the image could make the command start above its root.
        os.close(lower_fd)
        os.close(upper_fd)
    base, lowers = root.lowers()
    os.chdir(base)
    os.chmod(upper, os.stat(lowers[0]).st_mode & 0o7777)
    try:
        return OverlayRoot(base, lowers, upper, work, volatile=True).mount(-1)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            error.hint = _OVERLAY_HINT
        raise
