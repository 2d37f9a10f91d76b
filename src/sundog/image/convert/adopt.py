"""Bring an image of a shared store into the user's storage, without a name there.

So builds start from shared images, and ``push``, ``save`` and ``ch-convert`` take them.  The layers
are copied as the files that they are.  A layer that has been here before is not read again.
"""

from __future__ import annotations

import hashlib
import os
import shutil

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.stub import read_all
from sundog.base.record.layer_path import link_tree
from sundog.base.record.names import canonical_name
from sundog.base.record.shared_image import (
    LAYER_DIGESTS,
    LAYER_INFO,
    LAYER_PARTS,
    SHARED_LAYERS,
    unpack_digests,
)
from sundog.errors import NotInStorage, StoreError
from sundog.image.store.image_files import Image
from sundog.image.store.layer_info import unpack_info
from sundog.image.store.shared_images import read_shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.configuration.stores import SharedStore, SharedStores
    from sundog.image.oci.platform import Platform
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layer_info import LayerInfo
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report


def all_stored_or_shared(
    store: Store,
    name: str,
    shared: SharedStores,
    report: Report,
    platform: Platform | None = None,
) -> Sequence[Image]:
    """Return the images of a name for all platforms, or for one; see ``stored_or_shared``."""
    if platform is None and store.images.has(name):
        return store.images.of_name(name)
    return (stored_or_shared(store, name, shared, report, platform),)


def stored_or_shared(
    store: Store,
    name: str,
    shared: SharedStores,
    report: Report,
    platform: Platform | None = None,
) -> Image:
    """Return the image that ``name`` names in ``store``, else that of a shared store.

    Raises NotInStorage if it is in neither, and as ``Images.get``.
    """
    try:
        return store.images.get(name, platform)
    except NotInStorage:
        image = adopted(store, name, shared, report, platform)
        if image is None:
            raise
        return image


def adopted(
    store: Store,
    name: str,
    shared: SharedStores,
    report: Report,
    platform: Platform | None = None,
) -> Image | None:
    """Bring the shared image ``name`` into ``store``; None if there is no such image.

    With ``platform``, it must be one that runs there.  Raises SundogError.
    """
    found = shared.find(canonical_name(name))
    if found is None:
        return None
    described = read_shared(found)
    if not described.runs_on(platform):
        return None
    layers = tuple(layer.layer for layer in described.layers)
    store.hold()
    with store.faults:
        missing = [layer for layer in dict.fromkeys(layers) if not store.layers.exists(layer)]
        drafts: list[tuple[bytes, LayerId, LayerInfo]] = []
        for layer in missing:
            if not drafts:
                report.info(f"copying {name} from the shared store {described.store}")
            found.store.check_layers([layer.encode()], found.path)
            draft = store.scratch.new()
            drafts.append((draft, layer, _copy_layer(found.store, layer, draft)))
        store.layers.add_all(drafts)
    return Image(
        described.reference,
        described.typed,
        described.config,
        layers,
        origin=f"shared {described.store}",
        annotations=described.annotations,
    )


def _copy_layer(shared: SharedStore, layer: LayerId, draft: bytes) -> LayerInfo:
    """Copy the parts of a layer to ``draft``, and check their digests; return what is known of it.

    Raises StoreError and OSError.
    """
    place = b"%b/%b" % (SHARED_LAYERS, layer.encode())
    digests = unpack_digests(shared.contents(place + LAYER_DIGESTS))
    for part in LAYER_PARTS:
        if part == LAYER_INFO:  # written when the draft gets its name
            continue
        try:
            fd = shared.opened(place + part)
        except FileNotFoundError:  # links, which not every layer has
            continue
        with open(fd, "rb") as source, open(draft + part, "xb+") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            os.fchmod(target.fileno(), 0o600)
            target.seek(0)
            digest = hashlib.file_digest(target, "sha256").hexdigest().encode()
        if digest != digests.get(part[1:]):
            raise StoreError(
                f"can't copy {printable(shared.path + b'/' + place)}: {printable(part[1:])} has"
                " another digest",
                "its owner can remove it, and publish the image again",
            )
    link_tree(draft, layer.encode())
    with Closing(shared.opened(place + LAYER_INFO)) as fd:
        return unpack_info(read_all(fd), layer)
