"""The view of several layers, merged by overlayfs's rules without a mount.

Documentation/filesystems/overlayfs.rst has the rules.  The topmost entry of a name shows.
Directories of one name merge until one of them is opaque, or until a layer has something else
there.  A whiteout ends the search.  The manifests say what is a whiteout and what is opaque.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from sundog.base.kernel.files import Closing
from sundog.base.record.guesses import guesses_of
from sundog.base.record.owners import DEVICE_KINDS, INODE_KINDS, OwnerRecord, read_owners
from sundog.image.layer.directories import Directories
from sundog.image.layer.names import joined
from sundog.image.layer.walk import walk
from sundog.image.layer.xattrs import entry_path, get_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from sundog.base.record.guesses import Guesses
    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.limits import Meter
    from sundog.image.layer.xattrs import Pairs

SET_ID = stat.S_ISUID | stat.S_ISGID


def kind_of(mode: int) -> str:
    """Return the kind, as in a record, of an inode of ``mode``; "" for a socket or a device."""
    kind = INODE_KINDS.get(stat.S_IFMT(mode), "")
    return "" if kind in DEVICE_KINDS else kind


@dataclass(frozen=True, slots=True)
class LayerTree:
    """One unpacked layer: the path of its tree, and its manifest.

    ``guessed`` says that an emulation that forgets owners made the layer: a file without a record
    may be anybody's.  ``guesses`` has the files whose owners nobody saw; None if there are none.
    A layer that was joined of several has both, and only the files in ``guesses`` are meant.
    """

    tree: bytes
    owners: OwnersManifest
    guessed: bool = False
    guesses: Guesses | None = None

    @classmethod
    def read(cls, path: LayerPath) -> Self:
        """Return the layer at ``path``, its manifest read.  Raises StoreError if it is damaged."""
        guesses = guesses_of(path.tree, path.guesses)
        return cls(path.tree, read_owners(path.owners), path.guessed, guesses)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of some tree: its path from the directory ``root``, lstat(2), its record.

    The value is good as long as the descriptor ``root``.  ``in_guessed`` tells whether
    ``guessed`` of its layer holds for the entry.
    """

    root: int
    path: bytes
    status: os.stat_result
    record: OwnerRecord | None
    in_guessed: bool = False

    @property
    def is_directory(self) -> bool:
        """Tell whether the entry is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def mode(self) -> int:
        """The permission and set-id bits of the entry."""
        return stat.S_IMODE(self.status.st_mode)

    @property
    def is_guessed(self) -> bool:
        """Tell whether the owner is unknown: a RUN may have given the file away and forgotten it.

        In a layer of guesses, every file counts as such that has no set-id bits and no recorded
        owner.
        """
        if self.record is not None and (self.record.guessed or self.record.uid or self.record.gid):
            return self.record.guessed
        return self.in_guessed and not self.mode & SET_ID

    def is_same(self, other: Found) -> bool:
        """Tell whether both are one inode."""
        return os.path.samestat(self.status, other.status)

    def xattrs(self) -> Pairs:
        """Return the extended attributes that its inode carries for the image."""
        return get_xattrs(entry_path(self.root, self.path))

    def handed_down(self, left: Pairs = ()) -> OwnerRecord | None:
        """Return the record of a copy in a layer above, whose inode lacks the xattrs ``left``."""
        kind, uid, gid, rdev, xattrs = kind_of(self.status.st_mode), 0, 0, 0, left
        guessed = bool(self.is_guessed and self.mode & SET_ID)
        if (record := self.record) is not None:
            kind, uid, gid, rdev = record.kind, record.uid, record.gid, record.rdev
            xattrs = tuple({**dict(record.xattrs), **dict(left)}.items())
        copy = OwnerRecord(kind, uid, gid, rdev=rdev, xattrs=xattrs, guessed=guessed)
        return None if copy.is_plain else copy


class Below:
    """The view of ``layers``, the topmost first; a context manager that keeps their roots open.

    ``layers`` is iterated over once, and only when a layer is needed: layers may still be on their
    way here.  Paths are canonical: relative to the root, which is b"", without a symlink on the
    way.  With ``cut_at_root`` nothing shows below a layer whose root is opaque.  ``meter`` counts
    the look-ups.
    """

    def __init__(
        self, layers: Iterable[LayerTree], *, cut_at_root: bool = True, meter: Meter | None = None
    ) -> None:
        self._source = layers
        self._meter = meter
        self._cut_at_root = cut_at_root
        self._roots: list[int] = []
        # Index of a layer → inode with several names → these names.
        self._links: dict[int, dict[int, list[bytes]]] = {}

    @cached_property
    def _layers(self) -> list[LayerTree]:
        layers = []
        for layer in self._source:
            layers.append(layer)
            self._roots.append(os.open(layer.tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            root = layer.owners.get(b"")
            if self._cut_at_root and root is not None and root.opaque:
                break
        return layers

    @cached_property
    def _holders(self) -> dict[bytes, tuple[int, ...]]:
        """Directory → the indexes of the layers that show in it; empty for other paths."""
        return {b"": tuple(range(len(self._layers)))}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._roots:
            os.close(self._roots.pop())

    def lookup(self, path: bytes) -> Found | None:
        """Return the entry that shows at ``path``, if any."""
        for index in self.holders(path.rpartition(b"/")[0]):
            record = self._layers[index].owners.get(path)
            if record is not None and record.kind == "w":
                return None
            status = self._status(index, path)
            if status is not None:
                return self._found(index, path, status)
        return None

    def open_file(self, path: bytes) -> int | None:
        """Open the regular file that shows at ``path`` for reading; None if there is none."""
        found = self.lookup(path)
        if found is None or not stat.S_ISREG(found.status.st_mode):
            return None
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(found.path, flags, dir_fd=found.root)

    def entries(self, directory: bytes) -> list[tuple[bytes, Found]]:
        """Return the entries that show in ``directory``, in order of name."""
        shown: dict[bytes, Found | None] = {}
        for index in self.holders(directory):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with Closing(os.open(directory or b".", flags, dir_fd=self._roots[index])) as fd:
                for name in map(os.fsencode, os.listdir(fd)):
                    if name not in shown:
                        path = joined(directory, name)
                        shown[name] = self._found(index, path, os.lstat(name, dir_fd=fd))
        return [(name, found) for name, found in sorted(shown.items()) if found]

    def is_unseen(self, path: bytes) -> bool:
        """Tell whether nobody saw whose the entry at ``path`` is; see ``guessing``."""
        unseen = merges = False
        for index in self.holders(path.rpartition(b"/")[0]):
            layer = self._layers[index]
            record, status = layer.owners.get(path), self._status(index, path)
            if record is not None and record.kind == "w":
                break
            if status is None:
                continue
            if merges and not stat.S_ISDIR(status.st_mode):
                break
            if record is not None and (record.uid or record.gid or not record.opaque):
                return False
            unseen = layer.guesses is not None and layer.guesses.has(path)
            merges = stat.S_ISDIR(status.st_mode)
            if not merges or record is not None:
                break
        return unseen

    def record(self, path: bytes) -> OwnerRecord | None:
        """Return the record of what shows at ``path``, if it has one."""
        if not any(path in layer.owners for layer in self._layers):
            return None  # most paths need no look at the trees
        found = self.lookup(path)
        return found.record if found else None

    def names(self, found: Found) -> list[bytes]:
        """Return every path that the inode of ``found`` has in its layer."""
        index = self._roots.index(found.root)
        links = self._links.get(index)
        if links is None:
            links = self._links[index] = {}
            with Directories(self._layers[index].tree) as directories:
                for path, _, entries in walk(directories):
                    for name, status in entries:
                        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                            links.setdefault(status.st_ino, []).append(joined(path, name))
        return links.get(found.status.st_ino, [])

    def holders(self, path: bytes) -> tuple[int, ...]:
        """Return the indexes of the layers that show in the directory ``path``, topmost first."""
        known = path
        while known not in self._holders:
            known = known.rpartition(b"/")[0]
        while known != path:
            end = path.find(b"/", len(known) + 1)
            child = path if end < 0 else path[:end]
            self._holders[child] = self._holders_of_child(self._holders[known], child)
            known = child
        return self._holders[path]

    def ends_at(self, directory: bytes) -> bool:
        """Tell whether further layers below these would show nothing in the directory."""
        if not directory:
            record = self._layers[-1].owners.get(b"")
            return record is not None and record.opaque
        return self._search(self.holders(directory.rpartition(b"/")[0]), directory)[1]

    def _holders_of_child(self, parents: tuple[int, ...], path: bytes) -> tuple[int, ...]:
        return self._search(parents, path)[0]

    def _search(self, parents: tuple[int, ...], path: bytes) -> tuple[tuple[int, ...], bool]:
        """Return the holders of a directory, and whether one of these layers ends the search."""
        holders: list[int] = []
        for index in parents:
            record = self._layers[index].owners.get(path)
            if record is not None and record.kind == "w":
                return tuple(holders), True
            status = self._status(index, path)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                return tuple(holders), True
            holders.append(index)
            if record is not None and record.opaque:
                return tuple(holders), True
        return tuple(holders), False

    def _found(self, index: int, path: bytes, status: os.stat_result | None) -> Found | None:
        if status is None or stat.S_ISCHR(status.st_mode):
            return None  # the mark of a whiteout; a device would have a placeholder
        layer = self._layers[index]
        guessed = layer.guessed and (layer.guesses is None or layer.guesses.has(path))
        return Found(self._roots[index], path, status, layer.owners.get(path), guessed)

    def _status(self, index: int, path: bytes) -> os.stat_result | None:
        if self._meter is not None:
            self._meter.looked_up(path.count(b"/") + 1)
        # All components before the last are directories of this very layer, not symlinks.
        try:
            return os.lstat(path or b".", dir_fd=self._roots[index])
        except FileNotFoundError:
            return None
