"""Merge layers into one plain tree, as overlayfs would show them, but without its marks."""

from __future__ import annotations

import contextlib
import os

from sundog.image.layer.below import Below, Found, LayerTree
from sundog.image.layer.copying import Copier
from sundog.image.layer.directories import Directories
from sundog.image.layer.names import joined
from sundog.image.layer.xattrs import set_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def flatten(layers: Sequence[LayerTree], dest: bytes) -> None:
    """Copy what shows of ``layers``, the bottom first, into ``dest``, and make ``dest`` if needed.

    Hard links stay links.  Files share their data with the layers where the file system supports
    it.  A root-opaque layer hides nothing here: the caller has left out the layers that it hides,
    and may have put a skeleton under it.  Raises OSError; ``dest`` is then incomplete.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(dest, 0o700)
    with Below(layers[::-1], cut_at_root=False) as view, Directories(dest) as directories:
        _Flattening(view, directories).run()


def copy_tree(source: bytes, dest: bytes) -> None:
    """Copy the tree ``source`` to ``dest``, as ``flatten`` does."""
    flatten([LayerTree(source, {})], dest)


class _Flattening:
    """The state of one merge."""

    def __init__(self, view: Below, directories: Directories) -> None:
        self._view = view
        self._directories = directories
        self._copier = Copier()
        # Directories in the order in which they were made; they get modes and times at the end.
        self._made: list[tuple[bytes, Found]] = []
        self._linked: dict[tuple[int, int], bytes] = {}  # inodes with several names → one copy

    def run(self) -> None:
        root = self._view.lookup(b"")
        ahead = [(b"", root)] if root else []
        while ahead:
            path, found = ahead.pop()
            self._made.append((path, found))
            for name, entry in self._view.entries(path):
                child = joined(path, name)
                if entry.is_directory:
                    os.mkdir(name, 0o700, dir_fd=self._directories.open(path))
                    ahead.append((child, entry))
                else:
                    self._copy(child, entry)
        for path, found in reversed(self._made):
            fd = self._directories.open(path)
            set_xattrs(fd, found.xattrs())
            os.fchmod(fd, found.mode)
            os.utime(fd, ns=(found.status.st_atime_ns, found.status.st_mtime_ns))

    def _copy(self, path: bytes, found: Found) -> None:
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        if found.status.st_nlink > 1:
            identity = (found.root, found.status.st_ino)
            first = self._linked.setdefault(identity, path)
            if first != path:
                first_parent, _, first_name = first.rpartition(b"/")
                source = self._directories.open(first_parent)
                os.link(first_name, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
                return
        self._copier.copy(found.root, found.path, found.status, fd, name)
