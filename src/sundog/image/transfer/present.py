"""The IDs of layers that come from outside, and which of them the store has."""

from __future__ import annotations

from sundog.base.record.lazy_layer import is_incomplete, is_refused
from sundog.image.layer.blob_tables import table_digest
from sundog.image.layer.limits import check_layers
from sundog.image.oci.digest import Digest
from sundog.image.store.layer_ids import (
    blob_layer_id,
    file_layer_id,
    layer_id,
    shared_layer_ids,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store

    # The ID of a layer by itself, and that of one that is right on certain layers only.
    TreeIds = tuple[LayerId, LayerId]


def tree_ids(diff_ids: Sequence[str], below: Sequence[str] = ()) -> list[TreeIds]:
    """Return the IDs of each layer of an image, bottom first, as a tree.

    ``below`` determines the layers under them: diff IDs, or the IDs of layers that are not all
    here, for nobody knows their diff IDs.  Raises ArchiveError for too many layers.
    """
    check_layers(len(below) + len(diff_ids))
    chains = _chain_ids([*below, *diff_ids])[len(below) :]
    return [
        (layer_id("diff", diff_id), layer_id("chain", chain))
        for diff_id, chain in zip(diff_ids, chains, strict=True)
    ]


def shared_as(trees: TreeIds) -> list[LayerId]:
    """Return the IDs under which shared stores may have a layer."""
    return [shared for tree in trees for shared in shared_layer_ids(tree)]


def blob_key(store: Store, blob: Descriptor, index: str = "") -> str:
    """Return what determines a layer that is ``blob``, with its table; "" if it has no table.

    The index of an ordinary gzip is its table: that with the digest ``index``, or else the one that
    ``store`` has.  The digest of the blob counts, too: until all of it is here, nobody knows that
    it has the layer.
    """
    table = table_digest(blob) or index or store.gzip_indexes.digest(blob.digest)
    return f"{blob.digest} {table}" if table else ""


def present_layers(
    store: Store,
    layers: Sequence[TreeIds],
    keys: Sequence[str] = (),
    *,
    takes_incomplete: bool = False,
) -> list[str]:
    """Return the ID by which the store has each layer, "" for one that it lacks.

    ``keys`` are those of ``blob_key``; without them, no layer counts that came with a table.
    ``takes_incomplete``: so does one that is not all here.
    """
    found = []
    for number, trees in enumerate(layers):
        known = [*trees, *map(file_layer_id, trees), *shared_as(trees)]
        if keys and keys[number]:
            known += [blob_layer_id(each, keys[number]) for each in trees]
        here = [each for each in known if store.layers.exists(each)]
        if keys:
            is_unfit = is_refused if takes_incomplete else is_incomplete
            here = [each for each in here if not is_unfit(store.layers.directory(each))]
        found.append(here[0] if here else "")
    return found


def _chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the chain_id of each layer (image-spec, config.md, "Layer ChainID")."""
    chains: list[str] = []
    for diff_id in diff_ids:
        text = f"{chains[-1]} {diff_id}" if chains else diff_id
        chains.append(str(Digest.of(text.encode())) if chains else diff_id)
    return chains
