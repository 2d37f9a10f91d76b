"""Make layers that are files of layers that are trees, and the reverse: see ``record.layer_path``.

The contents become SquashFS, by the programs that ``squash`` knows.  All else is in the index, so
the layer shows the same files, and leaves as the same tar.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from sundog.base.record.layer_path import LAYER_FILE, LAYER_INDEX, LayerPath, link_tree
from sundog.base.record.lazy_layer import check_refused, is_incomplete
from sundog.base.record.owners import read_owners
from sundog.base.record.shared_image import is_layer_id
from sundog.errors import StoreError
from sundog.image.convert.flow import Flow, produced
from sundog.image.convert.pseudo_file import LATEST
from sundog.image.convert.squash import ZSTD, Output, find_maker, write_squash
from sundog.image.layer.write_tar import write_layer
from sundog.image.store.layer_ids import file_layer_id, layer_id
from sundog.image.store.tree_work import copy_shown, write_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.tar_writer import TarWriter
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layer_info import LayerInfo
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report, Transfer

_FLOW = Flow(None, keeps_xattrs=False, is_flat=False, latest=LATEST)


def pack_image(store: Store, image: Image, report: Report) -> int:
    """Make all layers of ``image`` files; return the number of those that were trees.

    The image is replaced when all are there.  Raises SundogError, and OSError.
    """
    layers: list[LayerId] = []
    drafts: list[tuple[bytes, LayerId, LayerInfo]] = []
    with store.faults:
        for number, layer in enumerate(image.layers, 1):
            packed = layer if store.layers.is_file(layer) else file_layer_id(layer)
            layers.append(packed)
            if store.layers.exists(packed) or any(packed == made for _, made, _ in drafts):
                continue
            label = f"layer {number}/{len(image.layers)}"
            draft = store.scratch.new()
            transfer = report.transfer(label, "packing", store.layers.size(layer))
            try:
                info = write_layer_file(store, layer, draft, transfer)
            finally:
                transfer.end()
            drafts.append((draft, packed, info))
        store.layers.add_all(drafts)
        changed = sum(map(str.__ne__, layers, image.layers))
        if changed:
            store.images.put(replace(image, layers=tuple(layers)))
    return changed


def write_layer_file(store: Store, layer: LayerId, draft: bytes, transfer: Transfer) -> LayerInfo:
    """Write ``layer``, a tree, as a layer that is one file, to the empty directory ``draft``.

    Its place will be ``layers/`` of any store, under its ``file_layer_id``.  ``layer.json`` is not
    written.  Raises SundogError, and OSError.
    """
    maker = find_maker()
    path, made = store.layers.path(layer), LayerPath.of(draft)
    owners = read_owners(path.owners)

    def write(archive: TarWriter) -> None:
        write_layer(archive, path.tree, owners)

    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        open(os.open(draft + LAYER_FILE, flags, 0o600), "r+b", buffering=0) as file,
        open(os.memfd_create("said", os.MFD_CLOEXEC), "w+b") as said,
        produced(write, _FLOW, lambda _: None) as stream,
    ):
        output = Output("a layer file", file.fileno(), said, ZSTD)
        write_squash(stream, output, maker, transfer)
    size = store.worker.call(write_index, path.tree, draft + LAYER_FILE, draft + LAYER_INDEX)
    shutil.copyfile(path.owners, made.owners)
    if os.path.exists(path.links):
        shutil.copyfile(path.links, made.links)
    link_tree(draft, file_layer_id(layer).encode())
    return replace(store.layers.info(layer), size=size, packed=layer)


def unpack_image(store: Store, image: Image, report: Report) -> int:
    """Make all layers of ``image`` trees; return the number of those that were files.

    The image is replaced when all are there.  Raises SundogError, and OSError.
    """
    changed = [layer for layer in dict.fromkeys(image.layers) if store.layers.is_file(layer)]
    for directory in map(store.layers.directory, changed):
        check_refused(directory)
        if is_incomplete(directory):
            raise StoreError(
                f"can't unpack {image.typed}: a part of it is still in a registry",
                f"ch-image pull {image.typed}",
            )
    trees = {layer: _tree_id(store, layer) for layer in changed}
    drafts = []
    with store.faults:
        for number, (layer, tree) in enumerate(trees.items(), 1):
            if store.layers.exists(tree):
                continue
            draft, size = store.scratch.new(), store.layers.size(layer)
            transfer = report.transfer(f"layer {number}/{len(trees)}", "unpacking", size)
            try:
                drafts.append((draft, tree, _write_tree(store, layer, draft)))
                transfer.advance(size)
            finally:
                transfer.end()
        store.layers.add_all(drafts)
        if changed:
            layers = tuple(trees.get(layer, layer) for layer in image.layers)
            store.images.put(replace(image, layers=layers))
    return sum(layer in trees for layer in image.layers)


def _tree_id(store: Store, layer: LayerId) -> LayerId:
    """Return the ID of ``layer``, which is one file, as a tree.

    That of the tree of which the file was made is known again by the build cache, and by pulls.
    A layer that was copied from a shared store says what it likes, so its own ID has to agree.
    """
    packed = store.layers.info(layer).packed
    if packed.isascii() and is_layer_id(packed.encode()) and file_layer_id(packed) == layer:
        return packed
    return layer_id("tree", layer)


def _write_tree(store: Store, layer: LayerId, draft: bytes) -> LayerInfo:
    """Write ``layer``, one file, as a tree to the empty directory ``draft``."""
    path, made = store.layers.path(layer), LayerPath.of(draft)
    store.worker.call(copy_shown, path.tree, draft)
    shutil.copyfile(path.owners, made.owners)
    if os.path.exists(path.links):
        shutil.copyfile(path.links, made.links)
    return replace(store.layers.info(layer), packed="")
