"""Bring an image of a shared store into the user's storage, without a name there.

So builds start from shared images, and ``push``, ``save`` and ``ch-convert`` take them.  The layers
are copied as the files that they are.  A layer that has been here before is not read again.
"""

from __future__ import annotations

from sundog.base.record.names import canonical_name
from sundog.errors import NotInStorage
from sundog.image.store.shared_images import read_shared
from sundog.image.transfer.shared_layers import copy_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.configuration.stores import SharedStores
    from sundog.image.oci.platform import Platform
    from sundog.image.store.image_files import Image
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
    image = described.as_image()
    store.hold()
    with store.faults:
        missing = [layer for layer in dict.fromkeys(image.layers) if not store.layers.exists(layer)]
        drafts: list[tuple[bytes, LayerId, LayerInfo]] = []
        for layer in missing:
            if not drafts:
                report.info(f"copying {name} from the shared store {described.store}")
            found.store.check_layers([layer.encode()], found.path)
            draft = store.scratch.new()
            drafts.append((draft, layer, copy_layer(found.store, layer, draft)))
        store.layers.add_all(drafts)
    return image
