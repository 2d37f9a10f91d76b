"""Bring an image of a shared store into the user's storage, without a name there.

So builds start from shared images, and ``push``, ``save`` and ``ch-convert`` take them.  The image
gets one layer.  An image that has been here before is not read again, as long as its layer is here.
"""

from __future__ import annotations

import os
import threading

from sundog.base.kernel.files import Closing
from sundog.base.record.names import canonical_name
from sundog.errors import NotInStorage
from sundog.image.convert.flow import wide_pipe
from sundog.image.convert.from_squash import read_squash
from sundog.image.layer.tar_writer import TarWriter
from sundog.image.layer.unpack import unpack
from sundog.image.store.image_files import Image
from sundog.image.store.layers import layer_id
from sundog.image.store.shared_images import read_shared
from sundog.image.store.tree_work import finish_draft, new_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.configuration.stores import SharedStores
    from sundog.image.oci.platform import Platform
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
        image = adopted(store, name, shared, report)
        if image is None:
            raise
        return image


def adopted(store: Store, name: str, shared: SharedStores, report: Report) -> Image | None:
    """Bring the shared image ``name`` into ``store``; None if there is no such image.

    Raises SundogError.
    """
    found = shared.find(canonical_name(name))
    if found is None:
        return None
    described = read_shared(found)
    path = found.file()
    layer = layer_id("shared", os.fsdecode(os.path.basename(path)))
    store.hold()
    with store.faults:
        if not store.layers.exists(layer):
            report.info(f"copying {name} from the shared store {described.store}")
            draft = store.scratch.new()
            store.layers.add(draft, layer, store.worker.call(unpack_squash, path, draft))
    return Image(
        described.reference,
        described.typed,
        described.config.replace(diff_ids=("",)),
        (layer,),
        origin=f"shared {described.store}",
        annotations=described.annotations,
    )


def unpack_squash(path: bytes, draft: bytes) -> LayerInfo:
    """Unpack a SquashFS file of a whole image into ``draft``: the tree worker's part."""
    read_end, write_end = wide_pipe()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with open(write_end, "wb", buffering=0) as out, Closing(file):
                archive = TarWriter(out, is_flat=True, hashes=False)
                read_squash(archive, file)
                archive.end()
        except BrokenPipeError:  # the other side has failed
            pass
        except BaseException as error:
            failures.append(error)

    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open(read_end, "rb", buffering=0) as tar:
            unpacked = unpack(tar, new_tree(draft), is_flat=True)
    except BaseException as error:
        writer.join()
        raise failures[0] if failures else error from None
    writer.join()
    if failures:
        raise failures[0]
    return finish_draft(draft, unpacked.owners, unpacked.diff_id)
