"""What a container's root file system is made of: plain values, no system call.

Made by the store's drivers and by ``launcher/image.py``; mounted by ``launcher/plan.py``.  Floor 0:
imports nothing.
"""


class DirectoryRoot:
    """A directory that is the root as it stands: an unpacked image, or a flattened tree.

    ``binds`` lie over it, inside: pairs of source (a host path) and destination (relative to the
    root, which exists there and is no symlink).  The ``copy`` driver puts an image's own ``ch/`` on
    the shared tree this way.
    """

    __slots__ = ("binds", "path")

    def __init__(self, path: bytes, binds: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.path = path
        self.binds = binds

    def __repr__(self) -> str:
        return f"DirectoryRoot({self.path!r}, {self.binds!r})"


class OverlayRoot:
    """Layers stacked by overlayfs: ``lowers`` topmost first, and perhaps an ``upper``.

    Every path is relative to the directory ``base``, or absolute: the mount is made after a chdir
    to ``base``, because the names of all layers have to fit into one page (mount(2)).  ``upper``
    and ``work`` come together; without them the mount is read-only.  ``volatile`` leaves out all
    syncing of the upper (Linux 5.10).
    """

    __slots__ = ("base", "lowers", "upper", "volatile", "work")

    def __init__(
        self,
        base: bytes,
        lowers: list[bytes],
        upper: bytes | None = None,
        work: bytes | None = None,
        *,
        volatile: bool = False,
    ) -> None:
        self.base = base
        self.lowers = lowers
        self.upper = upper
        self.work = work
        self.volatile = volatile

    def __repr__(self) -> str:
        return f"OverlayRoot({self.base!r}, {self.lowers!r}, {self.upper!r}, {self.work!r})"
