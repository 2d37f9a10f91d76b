"""A layer that is its blob: all that the store keeps of it beside the blob, made of its table."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.record.chunk_table import GZIP_SPANS
from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_INDEX, LAYER_LINKS, LAYER_OWNERS
from sundog.base.record.links import pack_links
from sundog.base.record.owners import pack_owners
from sundog.errors import ArchiveError
from sundog.image.layer.below_index import BelowByIndex
from sundog.image.layer.limits import Meter, current_meter
from sundog.image.layer.names import display
from sundog.image.layer.planned_index import PlannedIndex
from sundog.image.layer.planned_tree import PlannedTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sundog.base.record.chunk_table import Chunk
    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.blob_tables import BlobTable
    from sundog.image.layer.gzip_index import GzipTable
    from sundog.image.layer.header import Member


@dataclass(frozen=True, slots=True)
class BlobLayer:
    """Facts of such a layer.

    size         bytes in its files, hard links once
    root_opaque  whether nothing below the layer shows
    needs_below  whether it would differ over other layers below
    """

    size: int
    root_opaque: bool
    needs_below: bool


def write_blob_layer(
    draft: bytes, table: BlobTable | GzipTable, below: Sequence[LayerPath]
) -> BlobLayer:
    """Write the index, the chunks, the owners and the links of a blob to the directory ``draft``.

    ``below`` are the layers below it, the topmost first: drafts, too.  The blob itself, ``file``,
    the index of a gzip, ``spans``, and the link ``tree`` are the caller's.  Raises ArchiveError,
    which names the member, for what a table can't show; such a layer has to be unpacked.  Raises
    OSError and StoreError.
    """
    tree, owners = planned(table.members(), below)
    index = PlannedIndex(tree, owners, table.kind)
    files: dict[bytes, Iterable[bytes | bytearray]] = {
        LAYER_INDEX: index.index.parts(),
        LAYER_OWNERS: [pack_owners(owners)],
        LAYER_LINKS: [pack_links(index.links)],
    }
    if table.kind != GZIP_SPANS:
        files[LAYER_CHUNKS] = index.chunks.parts()
    for name, parts in files.items():
        with open(draft + name, "xb") as file:
            file.writelines(parts)
    root = owners.get(b"")
    return BlobLayer(index.size, root is not None and root.opaque, tree.needs_below)


def planned(
    members: Iterable[tuple[Member, Sequence[Chunk]]],
    below: Sequence[LayerPath],
    meter: Meter | None = None,
) -> tuple[PlannedTree, OwnersManifest]:
    """Return the tree of ``members`` over ``below``, and its manifest.  Raises as above."""
    meter = meter or current_meter()
    tree = PlannedTree(BelowByIndex(below, meter), meter)
    for member, chunks in members:
        try:
            for _ in chunks:
                meter.entry()
            tree.add(member, chunks)
        except ArchiveError as error:
            raise ArchiveError(f"{display(member.name)}: {error.message}", error.hint) from None
    owners = tree.finish()
    meter.complete()
    return tree, owners
