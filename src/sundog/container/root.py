"""What a container's root file system is made of: each kind says how it is mounted.

Made by the store's drivers and by ``launcher/image.py``.  Until ``mount``, a root is a plain value.

Floor 0.
"""

import errno
import os

from sundog.container.enter import copy_tree, cover_root, topmost_mount
from sundog.container.mountpoint import reserve_mount_point
from sundog.container.paths import OPEN_DIRECTORY
from sundog.errors import KernelError
from sundog.kernel.libc import printable
from sundog.kernel.mounts import AT_RECURSIVE, MS_RDONLY
from sundog.kernel.overlay import mount_layers

OVERLAY_HINT = (
    "for -W the image must be on a file system that can be overlaid, "
    "and nothing may be mounted inside it"
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Root(Protocol):
        """A kind of root file system.

        directory  where all of it is as it stands; b"" where it has to be mounted to be seen
        binds      what lies over it, inside: pairs of source (a host path) and destination
                   (relative to the root, which exists there and is no symlink)
        """

        @property
        def directory(self) -> bytes: ...  # noqa: D102
        @property
        def binds(self) -> tuple[tuple[bytes, bytes], ...]: ...  # noqa: D102

        def describe(self, *, writable: bool) -> str:
            """Say in one line what is mounted."""

        def hold(self, *, writable: bool) -> int:
            """Take hold of what is on the host, before anything is mounted; return it for mount."""

        def mount(self, held: int) -> int:
            """Mount it on top of all else at "/"; return the directory, which is O_PATH.

            Changes the working directory.  The ``binds`` are the plan's business.
            """

        def show(self, place: bytes) -> tuple[int, int]:
            """Return the root directory, which is O_PATH, and how to copy its mount (AT_RECURSIVE).

            It is mounted at ``place``, an empty directory, if it has to be.
            """

        def lowers(self) -> tuple[bytes, list[bytes]]:
            """Return what an overlay on top of it is made of: a base, and names as from there."""

        def unchanged(self) -> "Root":
            """Return what it is without what has been written to it."""


class DirectoryRoot:
    """A directory that is the root as it stands: an unpacked image, or a flattened tree.

    The ``copy`` driver puts an image's own ``ch/`` on the shared tree by ``binds``.
    """

    __slots__ = ("binds", "path")

    def __init__(self, path: bytes, binds: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.path = path
        self.binds = binds

    def __repr__(self) -> str:
        return f"DirectoryRoot({self.path!r}, {self.binds!r})"

    @property
    def directory(self) -> bytes:
        """Return the directory."""
        return self.path

    def describe(self, *, writable: bool) -> str:
        """See ``Root``."""
        return f"mount {printable(self.path)} at / ({'read-write' if writable else 'read-only'})"

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

    def unchanged(self) -> "Root":
        """See ``Root``: what is written to a directory can't be told from the rest."""
        return self


class OverlayRoot:
    """Layers stacked by overlayfs: the topmost first, and perhaps an ``upper``.

    Every path is relative to the directory ``base``, or absolute: the mount is made after a chdir
    to ``base``, because the names of all layers have to fit into one page (mount(2)).  ``upper``
    and ``work`` come together; without them the mount is read-only.  ``volatile`` leaves out all
    syncing of the upper (Linux 5.10).
    """

    __slots__ = ("base", "layers", "upper", "volatile", "work")

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
    ) -> None:
        self.base = base
        self.layers = layers
        self.upper = upper
        self.work = work
        self.volatile = volatile

    def __repr__(self) -> str:
        return f"OverlayRoot({self.base!r}, {self.layers!r}, {self.upper!r}, {self.work!r})"

    def describe(self, *, writable: bool) -> str:  # noqa: ARG002 - the upper decides
        """See ``Root``."""
        layers = f"overlay {len(self.layers)} directories of {printable(self.base)} at /"
        return f"{layers} ({'read-only' if self.upper is None else 'read-write'})"

    def hold(self, *, writable: bool) -> int:  # noqa: ARG002
        """See ``Root``: nothing, the layers stay where they are."""
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

    def unchanged(self) -> "Root":
        """See ``Root``: a view of the layers."""
        if len(self.layers) == 1:  # overlayfs wants two
            return DirectoryRoot(b"%b/%b" % (self.base, self.layers[0]))
        return OverlayRoot(self.base, self.layers)

    def _mount_at(self, place: bytes) -> None:
        os.chdir(self.base)
        mount_layers(
            place,
            self.layers,
            self.upper,
            self.work,
            flags=0 if self.upper else MS_RDONLY,
            volatile=self.volatile,
            # Inode numbers stay unique when the upper is on another file system.
            xino=self.upper is not None,
        )


def mount_root(root: "Root", *, writable: bool = False) -> int:
    """Mount a root file system; return its directory.  Changes the working directory."""
    return root.mount(root.hold(writable=writable))


def mount_overlaid(root: "Root", scratch: int, mount_points: list[tuple[bytes, bool]]) -> int:
    """Mount ``root`` below an upper in the ``scratch`` tmpfs; return the directory.

    Layers are this user's own, where mount points can be made later; in a directory they may be
    not, so ``mount_points`` (path, whether a directory) are made in the upper now, as far as they
    are missing.  Changes the working directory.
    """
    for name in (b"upper", b"work"):
        os.mkdir(name, dir_fd=scratch)
    place = b"/proc/self/fd/%d/" % scratch
    upper, work = place + b"upper", place + b"work"
    if root.directory:
        lower_fd, upper_fd = os.open(root.directory, OPEN_DIRECTORY), os.open(upper, OPEN_DIRECTORY)
        for path, is_directory in dict.fromkeys(mount_points):  # a bind may be named twice
            reserve_mount_point(path, lower_fd, upper_fd, is_directory=is_directory)
        # By a link to /proc/self/fd the image could have the command start above its root.
        os.close(lower_fd)
        os.close(upper_fd)
    base, lowers = root.lowers()
    os.chdir(base)
    os.chmod(upper, os.stat(lowers[0]).st_mode & 0o7777)
    try:
        return OverlayRoot(base, lowers, upper, work, volatile=True).mount(-1)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            error.hint = OVERLAY_HINT
        raise
