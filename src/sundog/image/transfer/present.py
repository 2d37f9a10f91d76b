"""The IDs of layers that come from outside, and which of them the store has."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_SPANS
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


@dataclass(frozen=True, slots=True)
class Under:
    """The layers under others, bottom first.

    ``diff_ids`` are as images say, ``keys`` determine each for those on top: see ``key_under``.
    """

    diff_ids: Sequence[str] = ()
    keys: Sequence[str] = ()


def tree_ids(diff_ids: Sequence[str], below: Sequence[str] = ()) -> list[TreeIds]:
    """Return the IDs of each layer of an image, bottom first, as a tree.

    ``below`` determines the layers under them: see ``key_under``.  Raises ArchiveError for too many
    layers.
    """
    check_layers(len(below) + len(diff_ids))
    found, chain = [], _chain(below)
    for diff_id in diff_ids:
        chain = _chain((diff_id,), chain)
        found.append((layer_id("diff", diff_id), layer_id("chain", chain)))
    return found


def key_under(store: Store, layer: LayerId, diff_id: str) -> str:
    """Return what determines ``layer`` for the layers on top of it.

    It is its ``diff_id``; for a layer that came with a table of contents it is its ID.  Nobody
    knows the diff ID of such a layer before all of it is here, and what is on top keeps its own ID
    then.
    """
    directory = store.layers.directory(layer)
    has_table = any(os.path.lexists(directory + name) for name in (LAYER_CHUNKS, LAYER_SPANS))
    return layer if has_table else diff_id


def shared_as(trees: TreeIds) -> list[LayerId]:
    """Return the IDs under which shared stores may have a layer."""
    return [shared for tree in trees for shared in shared_layer_ids(tree)]


def blob_keys(store: Store, blob: Descriptor, *, foreign: bool = True) -> list[str]:
    """Return what may determine a layer that is ``blob``, with its table; [] if it has no table.

    The index of an ordinary gzip is its table: that which ``store`` has, and ``foreign`` ones that
    layers came with.
    """
    tables = [table_digest(blob) or store.gzip_indexes.digest(blob.digest)]
    if foreign:
        tables += store.gzip_indexes.foreign(blob.digest).values()
    return [blob_key(blob, table) for table in dict.fromkeys(tables) if table]


def blob_key(blob: Descriptor, table: str) -> str:
    """Return what determines a layer that is ``blob``, with the table of this digest.

    The digest of the blob counts, too: until all of it is here, nobody knows that it has the layer.
    """
    return f"{blob.digest} {table}"


def refusal(blob: Descriptor, table: str, diff_id: str) -> LayerId:
    """Return what names a layer in ``refused/``: its ID over no layers, wherever its blob is."""
    return blob_layer_id(layer_id("diff", diff_id), blob_key(blob, table))


def present_layers(
    store: Store,
    diff_ids: Sequence[str],
    keys: Sequence[Sequence[str]] = (),
    *,
    under: Under | None = None,
    takes_incomplete: bool = False,
) -> list[str]:
    """Return the ID by which the store has each layer, bottom first, "" for one that it lacks.

    ``keys`` are those of ``blob_keys``; without them, no layer counts that came with a table.
    ``takes_incomplete``: so does one that is not all here.  The layers are on top of those
    ``under`` them.
    """
    under = under or Under()
    found: list[str] = []
    chain = _chain(under.keys)
    is_unfit = is_refused if takes_incomplete else is_incomplete
    for number, by_diff_id in enumerate(tree_ids(diff_ids, under.diff_ids)):
        on_these = layer_id("chain", _chain((diff_ids[number],), chain))
        trees = dict.fromkeys((*by_diff_id, on_these))
        known = [*trees, *map(file_layer_id, trees), *shared_as(by_diff_id)]
        for key in keys[number] if keys else ():
            known += [blob_layer_id(tree, key) for tree in trees]
        here = [each for each in known if store.layers.exists(each)]
        if keys:
            here = [each for each in here if not is_unfit(store.layers.directory(each))]
        found.append(here[0] if here else "")
        key = key_under(store, here[0], diff_ids[number]) if here else diff_ids[number]
        chain = _chain((key,), chain)
    return found


def _chain(keys: Sequence[str], chain: str = "") -> str:
    """Return the chain_id of layers on top of ``chain``: image-spec, config.md, "Layer ChainID"."""
    for key in keys:
        chain = str(Digest.of(f"{chain} {key}".encode())) if chain else key
    return chain
