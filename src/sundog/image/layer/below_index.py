"""The view of layers below one that is planned, by their indexes and trees, without a mount.

The rules are those of ``below``.  A layer that is a file is looked up in its index.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property

from sundog.base.record.layer_index import IndexEntry, LayerIndex
from sundog.base.record.layer_path import LAYER_INDEX, is_in_file
from sundog.base.record.owners import OwnerRecord, read_owners
from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.xattrs import get_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.limits import Meter
    from sundog.image.layer.xattrs import Pairs


@dataclass(frozen=True, slots=True)
class BelowEntry:
    """An entry of a layer: its mode as in stat(2), time, attributes, and record, if any."""

    mode: int
    mtime_ns: int
    xattrs: Pairs
    record: OwnerRecord | None


class _LayerBelow:
    """One layer; nothing of it is read before it is needed."""

    def __init__(self, path: LayerPath) -> None:
        self._path = path

    @cached_property
    def owners(self) -> OwnersManifest:
        """The layer's manifest."""
        return read_owners(self._path.owners)

    @cached_property
    def _index(self) -> LayerIndex | None:
        """The layer's index; None if it is a tree."""
        if not is_in_file(self._path.tree):
            return None
        with open(os.path.dirname(self._path.tree) + LAYER_INDEX, "rb") as file:
            return LayerIndex(file.read())

    def step(self, path: bytes, directory: IndexEntry | None) -> IndexEntry | None:
        """Return the entry at ``path``, which is in ``directory`` of this layer; None: the root."""
        if self._index is not None:
            if directory is None:
                return self._index.entry(0)
            return self._index.lookup(directory, path.rpartition(b"/")[2])
        try:
            status = os.lstat(os.path.join(self._path.tree, path))
        except FileNotFoundError:
            return None
        mtime, nanoseconds = divmod(status.st_mtime_ns, NANOSECONDS)
        return IndexEntry(b"", status.st_mode, mtime=mtime, nanoseconds=nanoseconds)

    def described(self, path: bytes, found: IndexEntry) -> BelowEntry:
        """Return the entry ``found`` at ``path`` with all about it."""
        xattrs: Pairs = ()
        if self._index is not None:
            xattrs = tuple(sorted(self._index.xattrs(found).items()))
        elif found.is_directory:
            xattrs = get_xattrs(os.path.join(self._path.tree, path))
        mtime_ns = found.mtime * NANOSECONDS + found.nanoseconds
        record = self.owners.get(path)
        if record is not None and record.opaque:
            record = OwnerRecord(record.kind, record.uid, record.gid, xattrs=record.xattrs)
        is_plain = record is not None and record.is_plain
        return BelowEntry(found.mode, mtime_ns, xattrs, None if is_plain else record)


class BelowByIndex:
    """The view of ``layers``, the topmost first; ``meter`` counts the work."""

    def __init__(self, layers: Sequence[LayerPath], meter: Meter) -> None:
        self._layers = list(map(_LayerBelow, layers))
        self._meter = meter

    def lookup(self, path: bytes) -> BelowEntry | None:
        """Return the entry that shows at ``path``, if any.

        Raises OSError, StoreError and ArchiveError.
        """
        for layer in self._layers:
            found, is_last = _search(layer, path, self._meter)
            if found is not None or is_last:
                return found
        return None

    def has_directory(self, path: bytes) -> bool:
        """Tell whether a directory shows at ``path``."""
        found = self.lookup(path)
        return found is not None and stat.S_ISDIR(found.mode)


def _search(layer: _LayerBelow, path: bytes, meter: Meter) -> tuple[BelowEntry | None, bool]:
    """Return the entry at ``path`` of one layer, and whether nothing shows below the layer."""
    is_last = False
    found: IndexEntry | None = None
    end = -1
    while True:
        meter.looked_up(1)
        here = path[: max(end, 0)]
        record = layer.owners.get(here)
        if record is not None and record.kind == "w":
            return None, True
        found = layer.step(here, found)
        if found is None or stat.S_ISCHR(found.mode):  # the mark of a whiteout
            return None, is_last or found is not None
        if len(here) == len(path):
            return layer.described(path, found), True
        if not found.is_directory:
            return None, True
        is_last = is_last or (record is not None and record.opaque)
        end = path.find(b"/", max(end, 0) + (end >= 0))
        end = len(path) if end < 0 else end
