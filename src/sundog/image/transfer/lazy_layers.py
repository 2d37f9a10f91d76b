"""Layers that are used before they are here: a table of contents is enough for a start.

A layer that has no table is brought whole.  Layers are made bottom first, because a layer may need
to know what is below it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from sundog.base.record.layer_path import LAYER_FILE, LAYER_SPANS, link_tree
from sundog.base.record.lazy_layer import LAYER_HERE, REFUSALS, is_incomplete, is_refused
from sundog.errors import ArchiveError, RegistryError
from sundog.image.layer.blob_layer import write_blob_layer
from sundog.image.layer.blob_tables import read_table, table_digest
from sundog.image.layer.gzip_index import index_digest, read_gzip_index
from sundog.image.oci.media_types import OCI_LAYER_GZIP, as_oci
from sundog.image.store.gzip_indexes import mapped
from sundog.image.store.layer_ids import blob_layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.transfer.layers import Unpackers, pull_layers
from sundog.image.transfer.packing import is_marked
from sundog.image.transfer.present import (
    Under,
    blob_key,
    blob_keys,
    key_under,
    present_layers,
    refusal,
    tree_ids,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Protocol

    from sundog.image.layer.blob_tables import BlobTable, Read
    from sundog.image.layer.gzip_index import GzipTable
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer
    from sundog.image.transfer.present import TreeIds
    from sundog.image.transfer.report import Report

    class Origin(Protocol):
        """The place of the blobs of an image."""

        @property
        def whole_limit(self) -> int:
            """The size in bytes up to which a layer is brought whole."""

        @property
        def key(self) -> str:
            """The rest of what determines the IDs of layers that are not here; it may be ""."""

        def reader(self, blob: Descriptor) -> Read:
            """Return what reads parts of a blob; it raises ArchiveError and RegistryError."""

        def indexes(self, blob: Descriptor) -> Iterable[str]:
            """Return the digests of indexes that ``index`` would write, and that came before."""

        def index(self, blob: Descriptor, target: bytes) -> bool:
            """Write an index of a gzip to ``target``, from where such may be taken; else False."""

        def notes(self, layer: RemoteLayer) -> Mapping[bytes, bytes]:
            """Return the files of the layer's directory that say where the rest is."""

        def whole(self, layer: RemoteLayer) -> RemoteLayer:
            """Return the layer as it is to be brought whole."""


@dataclass(frozen=True)
class LazyLayers:
    """The layers of an image on their way from ``origin`` into ``store``.

    ``tell`` gets the layers that are brought whole, and why, for one line to the user.
    """

    store: Store
    origin: Origin
    report: Report
    tell: Callable[[str], None]

    def bring(self, layers: Sequence[RemoteLayer]) -> list[LayerId]:
        """Bring ``layers``, bottom first, into the store and return their IDs.

        Raises what ``pull_layers`` raises.
        """
        stack = _Stack(self.store, self.origin, self.report, len(layers))
        reasons: list[str] = []
        for number, layer in enumerate(layers, 1):
            label = f"layer {number}/{len(layers)}: {layer.descriptor.digest.encoded[:7]}"
            found, is_here = stack.find(layer)
            why = ""
            if found and is_here:
                stack.bring(layer, found)
            else:
                try:
                    if not found:
                        found, is_here = self._begin(layer, stack)
                    stack.add(layer, found)
                    how = "using existing layer" if is_here else "comes when it is read"
                    self.report.info(f"{label}: {how}")
                except (ArchiveError, RegistryError) as error:
                    why = error.message
                    stack.bring(self.origin.whole(layer))
            reasons.append(why)
        named = [f"{number} ({why})" for number, why in enumerate(reasons, 1) if why]
        if named:
            self.tell(f"layer {', '.join(named)}")
        stack.pull()
        return stack.identities

    def _begin(self, layer: RemoteLayer, stack: _Stack) -> tuple[LayerId, bool]:
        """Have a layer in the store of which the table alone needs to be here.

        Return as ``_Stack.find``.  Raises ArchiveError, RegistryError and OSError.
        """
        blob = layer.descriptor
        if blob.size <= self.origin.whole_limit:
            raise ArchiveError("small")
        for index_came in () if table_digest(blob) else self.origin.indexes(blob):
            found = stack.find(layer, index_came)
            if found[0]:
                return found
        with self._index(blob) as index:
            if index:
                with mapped(index) as data:
                    found = stack.find(layer, index_digest(data))
                if found[0]:
                    return found
            elif not table_digest(blob):
                raise ArchiveError("no table of contents")
            stack.pull()
            return self._write(layer, index, stack.trees(layer), stack.identities), False

    @contextmanager
    def _index(self, blob: Descriptor) -> Iterator[bytes]:
        """Give the path of the index of ``blob``, b"" if there is none, or if it needs none."""
        indexes, scratch = self.store.gzip_indexes, self.store.scratch
        if table_digest(blob) or indexes.digest(blob.digest):
            yield b"" if table_digest(blob) else indexes.path(blob.digest)
            return
        draft = scratch.new()
        try:
            path, is_gzip = draft + LAYER_SPANS, as_oci(blob.media_type) == OCI_LAYER_GZIP
            yield path if is_gzip and self.origin.index(blob, path) else b""
        finally:
            scratch.dispose(draft)

    def _write(
        self, layer: RemoteLayer, index: bytes, trees: TreeIds, below: Sequence[LayerId]
    ) -> LayerId:
        """Put a layer into the store of which the table alone is here; return its ID.

        ``index`` is the path of its index, if it is a gzip.  Raises as ``_begin``.
        """
        store, blob = self.store, layer.descriptor
        draft = store.scratch.new()
        try:
            table = self._table(blob, index, draft)
            self._check_refusals(refusal(blob, table.digest, layer.diff_id))
            made = write_blob_layer(draft, table, store.layers.paths(below))
            key = _with_origin(blob_key(blob, table.digest), self.origin)
            identity = blob_layer_id(trees[made.needs_below], key)
            if is_refused(store.layers.directory(identity)):
                raise ArchiveError("its table of contents is not true")
            link_tree(draft, identity.encode())
            files = {LAYER_FILE: b"", LAYER_HERE: b"", **self.origin.notes(layer)}
            for name, data in files.items():
                with open(draft + name, "xb") as file:
                    file.write(data)
            os.truncate(draft + LAYER_FILE, blob.size)
        except (ArchiveError, RegistryError):
            store.scratch.dispose(draft)
            raise
        # Nobody has checked yet which tar it is: the diff_id is not noted.
        info = LayerInfo(root_opaque=made.root_opaque, size=made.size, unrecorded=is_marked(blob))
        return store.layers.add(draft, identity, info)

    def _check_refusals(self, name: str) -> None:
        """Raise ArchiveError for a table that has lied; make the directory of such."""
        refusals = self.store.at(REFUSALS)
        with suppress(FileExistsError):
            os.mkdir(refusals, 0o700)
        if os.path.lexists(refusals + b"/" + name.encode()):
            raise ArchiveError("its table of contents is not true")

    def _table(self, blob: Descriptor, index: bytes, draft: bytes) -> BlobTable | GzipTable:
        """Return the table of ``blob``; ``draft`` gets the ``index`` of one that is a gzip.

        Raises ArchiveError, RegistryError and OSError.
        """
        if not index:
            return read_table(blob, self.origin.reader(blob))
        shutil.copyfile(index, draft + LAYER_SPANS)
        with mapped(draft + LAYER_SPANS) as data:
            return read_gzip_index(data, blob.size)


class _Stack:
    """The layers of an image that are in the store, and those to be brought whole on top of them.

    ``count`` is the number of all layers.
    """

    def __init__(self, store: Store, origin: Origin, report: Report, count: int) -> None:
        self.identities: list[LayerId] = []
        self._whole: list[RemoteLayer] = []
        self._diff_ids: list[str] = []
        self._keys: list[str] = []  # what determines each of all: see ``key_under``
        self._store = store
        self._origin = origin
        self._report = report
        self._count = count

    def trees(self, layer: RemoteLayer) -> TreeIds:
        """Return the IDs of ``layer`` on top of all others."""
        return tree_ids([layer.diff_id], self._keys)[0]

    def find(self, layer: RemoteLayer, index: str = "") -> tuple[LayerId, bool]:
        """Return the ID by which the store has ``layer``, or "", and whether all of it is here.

        ``index`` is the digest of an index of it, if that is not the store's own.
        """
        store, blob = self._store, layer.descriptor
        known = [blob_key(blob, index)] if index else blob_keys(store, blob, foreign=False)
        keys = [_with_origin(each, self._origin) for each in known]
        under = Under(self._diff_ids, self._keys)
        (found,) = present_layers(
            store, [layer.diff_id], [keys], under=under, takes_incomplete=True
        )
        is_here = found and not is_incomplete(self._store.layers.directory(found))
        return found, bool(is_here)

    def add(self, layer: RemoteLayer, identity: LayerId) -> None:
        """Put a layer on top that the store has."""
        self.pull()
        self.identities.append(identity)
        self._note(layer, identity)

    def bring(self, layer: RemoteLayer, identity: LayerId = "") -> None:
        """Let a layer on top be brought whole; ``identity`` is its ID if it is here."""
        self._whole.append(layer)
        self._note(layer, identity)

    def _note(self, layer: RemoteLayer, identity: LayerId) -> None:
        key = key_under(self._store, identity, layer.diff_id) if identity else layer.diff_id
        self._diff_ids.append(layer.diff_id)
        self._keys.append(key)

    def pull(self) -> None:
        """Bring those that are to be brought whole."""
        if not self._whole:
            return
        here = len(self.identities)
        with Unpackers() as unpackers:
            brought = pull_layers(
                *(self._store, self._whole, unpackers, self._report),
                below=self.identities,
                under=Under(self._diff_ids[:here], self._keys[:here]),
                count=self._count,
            )
        self.identities += brought
        self._keys[here:] = map(partial(key_under, self._store), brought, self._diff_ids[here:])
        self._whole = []


def _with_origin(key: str, origin: Origin) -> str:
    """Return ``key``, which determines a layer, with that of ``origin``."""
    return f"{key} {origin.key}" if origin.key else key
