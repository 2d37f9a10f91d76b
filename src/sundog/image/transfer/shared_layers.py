"""Layers of shared stores, which are copied as the files that they are.

A shared store is also a mirror: what it has of an image need not come from a registry.  Nobody can
compare such a layer with its diff ID, because its tar is not there.  So the trust in the store
covers that it is the right one.  What is copied has the digests that its publisher wrote.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import replace

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.record.layer_path import link_tree
from sundog.base.record.shared_image import (
    LAYER_DIGESTS,
    LAYER_INFO,
    SHARED_LAYERS,
    unpack_digests,
)
from sundog.errors import StoreError
from sundog.image.store.layer_ids import shared_layer_ids
from sundog.image.store.layer_info import LayerBlob, unpack_info
from sundog.image.transfer.present import blob_keys, present_layers, shared_as, tree_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.base.configuration.stores import SharedStore, SharedStores
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layer_info import LayerInfo
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer
    from sundog.image.transfer.report import Report

_CHUNK = 1 << 20


def bring_shared(
    store: Store,
    layers: Sequence[RemoteLayer],
    shared: SharedStores,
    report: Report,
    *,
    any_below: bool = False,
) -> None:
    """Copy into ``store`` those of ``layers``, bottom first, that only a shared store has.

    The first store that has a layer gives it; if it is damaged there, or others could have changed
    it, it comes from elsewhere.  With ``any_below``, a layer whose files depend on those below is
    not taken.  Raises SundogError for a mistake in the configuration and as ``Layers.add_all``.
    """
    diff_ids = [layer.diff_id for layer in layers]
    trees = tree_ids(diff_ids)
    keys = [blob_keys(store, layer.descriptor) for layer in layers]
    drafts: dict[LayerId, tuple[bytes, LayerId, LayerInfo]] = {}
    with store.faults:
        for number, found in enumerate(present_layers(store, diff_ids, keys)):
            label = f"layer {number + 1}/{len(layers)}"
            names = shared_layer_ids(trees[number][0]) if any_below else shared_as(trees[number])
            place = None if found else _place_of(names, shared, label, report)
            if place is None or place[1] in drafts:
                continue
            draft = store.scratch.new()
            report.info(f"{label}: copying from the shared store {printable(place[0].path)}")
            try:
                info = copy_layer(*place, draft)
            except StoreError as error:
                store.scratch.dispose(draft)
                report.warning(f"{label}: {error.message}; it comes from the registry")
            else:
                drafts[place[1]] = draft, place[1], _as_pulled(info, layers[number])
        if drafts:
            store.layers.add_all(list(drafts.values()))


def _place_of(
    names: Sequence[LayerId], shared: SharedStores, label: str, report: Report
) -> tuple[SharedStore, LayerId] | None:
    """Return the first store that has a layer, and which of ``names`` it has there."""
    for store in shared.stores() if names else ():
        for name in names:
            try:
                store.status(b"%b/%b" % (SHARED_LAYERS, name.encode()))
            except FileNotFoundError:
                continue
            except StoreError as error:
                report.warning(f"{label}: {error.message}")
                break
            return store, name
    return None


def _as_pulled(info: LayerInfo, layer: RemoteLayer) -> LayerInfo:
    """Return what is known of a copied layer, with the blob that the manifest names."""
    places = (layer.place,) if layer.place else ()
    return replace(info, blobs=(LayerBlob(layer.descriptor, layer.diff_id, places=places),))


def copy_layer(shared: SharedStore, layer: LayerId, draft: bytes) -> LayerInfo:
    """Copy the parts of a layer to ``draft``, and check their digests; return what is known of it.

    Raises StoreError for what is wrong in the shared store, and OSError.
    """
    place = b"%b/%b" % (SHARED_LAYERS, layer.encode())
    with _reading(shared, place):
        digests = unpack_digests(shared.contents(place + LAYER_DIGESTS))
        data = shared.contents(place + LAYER_INFO)
    found = {LAYER_INFO[1:]: hashlib.sha256(data)}
    for name in digests.keys() - found.keys():
        found[name] = hashlib.sha256()
        with open(draft + b"/" + name, "xb") as target:
            os.fchmod(target.fileno(), 0o600)
            for chunk in _chunks(shared, place + b"/" + name):
                found[name].update(chunk)
                target.write(chunk)
    for name, digest in found.items():
        if digest.hexdigest().encode() != digests[name]:
            raise _unfit(shared, place, f"{printable(name)} has another digest")
    link_tree(draft, layer.encode())
    return unpack_info(data, layer)


def _chunks(shared: SharedStore, place: bytes) -> Iterator[bytes]:
    """Give the contents of a file of a shared store.  Raises StoreError."""
    with _reading(shared, os.path.dirname(place)), Closing(shared.opened(place)) as fd:
        while chunk := os.read(fd, _CHUNK):
            yield chunk


@contextmanager
def _reading(shared: SharedStore, place: bytes) -> Iterator[None]:
    """Turn errors about the layer at ``place`` into StoreError."""
    try:
        yield
    except FileNotFoundError as error:
        name = os.path.basename(os.fsencode(error.filename or ""))
        raise _unfit(shared, place, f"{printable(name)} is missing") from None
    except OSError as error:
        raise _unfit(shared, place, error.strerror or "") from error


def _unfit(shared: SharedStore, place: bytes, why: str) -> StoreError:
    shown = printable(b"%b/%b" % (shared.path, place))
    return StoreError(
        f"can't copy {shown}: {why}", "its owner can remove it, and publish the image again"
    )
