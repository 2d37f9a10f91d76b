"""Layers from a registry that are used before they are here: their tables of contents come at once.

A layer that has no table, or is small, is pulled whole.  Layers are made bottom first, because a
layer may need to know what is below it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from posix import environ

from sundog.base.record.layer_path import LAYER_FILE, LAYER_SPANS, link_tree
from sundog.base.record.lazy_layer import (
    LAYER_HERE,
    LAYER_SOURCE,
    LAZY_VARIABLE,
    ON_DEMAND,
    is_incomplete,
    is_refused,
)
from sundog.errors import ArchiveError, RegistryError
from sundog.image.layer.blob_layer import write_blob_layer
from sundog.image.layer.blob_tables import read_table, table_digest
from sundog.image.layer.gzip_index import read_gzip_index
from sundog.image.registry.blob_ranges import BlobPlace, BlobRanges, may_pass
from sundog.image.registry.lazy_source import LazySource
from sundog.image.store.gzip_indexes import mapped
from sundog.image.store.layer_ids import blob_layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.transfer.layers import Unpackers, pull_layers
from sundog.image.transfer.packing import is_marked
from sundog.image.transfer.present import blob_key, present_layers, tree_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.layer.blob_tables import BlobTable
    from sundog.image.layer.gzip_index import GzipTable
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.registry.client import RegistryClient
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer
    from sundog.image.transfer.present import TreeIds
    from sundog.image.transfer.report import Report

WHOLE_LIMIT = 1 << 20  # bytes: a layer that is not larger is pulled whole
_ATTEMPTS = 3


@dataclass(frozen=True)
class LazyPull:
    """A pull of the image ``reference``, whose blobs ``clients`` have.

    ``verify``: whether servers have to prove their identity.
    """

    store: Store
    reference: str
    clients: Sequence[RegistryClient]
    verify: bool
    report: Report

    def run(self, layers: Sequence[RemoteLayer]) -> list[LayerId]:
        """Bring ``layers``, bottom first, into the store and return their IDs.

        Raises what ``pull_layers`` raises.
        """
        environ[LAZY_VARIABLE] = ON_DEMAND  # for whoever looks at layers below
        stack = _Stack(self.store, self.report, len(layers))
        reasons: list[str] = []
        for number, layer in enumerate(layers, 1):
            found, is_here = stack.find(layer)
            why = "" if found else self._reason(layer.descriptor)
            if not found and not why:
                stack.pull()
                try:
                    found = self._begin(layer, stack.trees(layer), stack.identities)
                except (ArchiveError, RegistryError) as error:
                    why = error.message
            reasons.append(why)
            if found and not is_here:
                stack.add(found)
                digest = layer.descriptor.digest.encoded[:7]
                self.report.info(f"layer {number}/{len(layers)}: {digest}: comes when it is read")
            else:
                stack.whole.append(layer)
        self._tell(reasons)
        stack.pull()
        return stack.identities

    def _reason(self, blob: Descriptor) -> str:
        """Return why a layer is pulled whole, "" if it need not be."""
        if blob.size <= WHOLE_LIMIT:
            return "small"
        return "" if blob_key(self.store, blob) else "no table of contents"

    def _tell(self, reasons: Sequence[str]) -> None:
        """Tell which layers are pulled whole, in one line."""
        named = [f"{number} ({why})" for number, why in enumerate(reasons, 1) if why]
        if named:
            self.report.info(f"pulled whole: layer {', '.join(named)}")

    def _begin(self, layer: RemoteLayer, trees: TreeIds, below: Sequence[LayerId]) -> LayerId:
        """Put a layer into the store of which the table alone is here; return its ID.

        Raises ArchiveError, RegistryError and OSError.
        """
        store, blob = self.store, layer.descriptor
        draft = store.scratch.new()
        try:
            table = self._table(blob, draft)
            made = write_blob_layer(draft, table, store.layers.paths(below))
            identity = blob_layer_id(trees[made.needs_below], f"{blob.digest} {table.digest}")
            if is_refused(store.layers.directory(identity)):
                raise ArchiveError("its table of contents is not true")
            link_tree(draft, identity.encode())
            source = LazySource(self.reference, blob, layer.diff_id, layer.place, self.verify)
            for name, data in ((LAYER_FILE, b""), (LAYER_HERE, b""), (LAYER_SOURCE, source.pack())):
                with open(draft + name, "xb") as file:
                    file.write(data)
            os.truncate(draft + LAYER_FILE, blob.size)
        except (ArchiveError, RegistryError):
            store.scratch.dispose(draft)
            raise
        # Nobody has checked yet which tar it is: the diff_id is not noted.
        info = LayerInfo(root_opaque=made.root_opaque, size=made.size, unrecorded=is_marked(blob))
        return store.layers.add(draft, identity, info)

    def _table(self, blob: Descriptor, draft: bytes) -> BlobTable | GzipTable:
        """Return the table of ``blob``; ``draft`` gets the index of one that is a gzip.

        Raises ArchiveError, RegistryError and OSError.
        """
        if table_digest(blob):
            ranges = BlobRanges(blob, [BlobPlace(client) for client in self.clients])
            return read_table(blob, lambda offset, size: _read(ranges, offset, size))
        self.store.gzip_indexes.copy(blob.digest, draft + LAYER_SPANS)
        with mapped(draft + LAYER_SPANS) as index:
            return read_gzip_index(index, blob.size)


class _Stack:
    """The layers of an image that are in the store, and those to be pulled whole on top of them.

    ``count`` is the number of all layers.
    """

    def __init__(self, store: Store, report: Report, count: int) -> None:
        self.identities: list[LayerId] = []
        self.whole: list[RemoteLayer] = []
        self._under: list[str] = []  # what determines each of them: see ``tree_ids``
        self._store = store
        self._report = report
        self._count = count

    def trees(self, layer: RemoteLayer) -> TreeIds:
        """Return the IDs of ``layer`` on top of all others."""
        return tree_ids([layer.diff_id], [*self._under, *(each.diff_id for each in self.whole)])[0]

    def find(self, layer: RemoteLayer) -> tuple[LayerId, bool]:
        """Return the ID by which the store has ``layer``, or "", and whether all of it is here."""
        keys = [blob_key(self._store, layer.descriptor)]
        (found,) = present_layers(self._store, [self.trees(layer)], keys, takes_incomplete=True)
        is_here = found and not is_incomplete(self._store.layers.directory(found))
        return found, bool(is_here)

    def add(self, layer: LayerId) -> None:
        """Put a layer on top that is not all here."""
        self.pull()
        self.identities.append(layer)
        self._under.append(layer)

    def pull(self) -> None:
        """Pull those that are to be pulled whole."""
        if not self.whole:
            return
        with Unpackers() as unpackers:
            self.identities += pull_layers(
                *(self._store, self.whole, unpackers, self._report),
                below=self.identities,
                under=self._under,
                count=self._count,
            )
        self._under += [layer.diff_id for layer in self.whole]
        self.whole = []


def _read(ranges: BlobRanges, offset: int, size: int) -> bytes:
    """Return a part of a blob.  Raises RegistryError."""
    for attempt in range(_ATTEMPTS):
        try:
            part = ranges.open(offset, offset + size, attempt)
            try:
                return part.read(size)
            finally:
                part.close()
        except RegistryError as error:
            if attempt + 1 == _ATTEMPTS or not may_pass(error):
                raise
    raise AssertionError
