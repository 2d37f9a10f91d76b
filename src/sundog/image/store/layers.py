"""``layers/ID/``: unpacked layers, which never change.

    tree/       the files, with overlayfs's marks only where they hide something below; in a layer
                that is one file, a link: see ``record.layer_path``
    owners      the manifest, see ``record.owners``
    layer.json  see ``layer_info``
    users/      see ``users``

IDs are short because a mount has to name all layers in one page.  The ID of a layer that came from
outside is a digest of its source, so the same tar twice is one layer.  The ID of a layer that an
instruction made is random.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from mmap import ACCESS_READ, mmap

from sundog.base.kernel.files import Closing
from sundog.base.kernel.overlay import layers_limit
from sundog.base.kernel.stub import read_all
from sundog.base.record.guesses import (
    GUESSES,
    OWNERS_GUESSED,
    OWNERS_KNOWN,
    OWNERS_LISTED,
    listed_guesses,
)
from sundog.base.record.layer_index import LayerIndex
from sundog.base.record.layer_path import (
    LAYER_FILE,
    LAYER_INDEX,
    LAYER_TREE,
    SHOWN,
    LayerPath,
    is_in_file,
)
from sundog.base.record.lazy_layer import LAYER_HERE, LAYER_PLACE, HereMap, read_place
from sundog.base.record.owners import read_owners
from sundog.base.record.stack import ID_LENGTH
from sundog.errors import StoreError
from sundog.image.store.garbage import Gone
from sundog.image.store.shown_trees import see
from sundog.image.store.users import USERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.store.joining import Piece
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layer_info import LayerBlob, LayerInfo
    from sundog.image.store.storage import Storage


@dataclass(frozen=True)
class Absent:
    """The bytes of a layer file that are here, all its bytes, and the OCI layout where it stays."""

    here: int
    size: int
    layout: bytes = b""


class Layers:
    """The layers of one store; ``tell`` gets a line for the user when some of them are joined."""

    def __init__(self, storage: Storage, tell: Callable[[str], None]) -> None:
        self._storage = storage
        self._tell = tell
        # Facts about layers that this command has learned and not written yet.
        self._changes: dict[LayerId, list[Callable[[LayerInfo], LayerInfo]]] = {}
        self._infos: dict[LayerId, LayerInfo] = {}  # each step asks for those of all layers below
        self._sizes: dict[LayerId, int] = {}  # a list asks for that of a base many times

    def exists(self, layer: LayerId) -> bool:
        """Tell whether the layer is in the store."""
        return os.path.isdir(self._path(layer))

    def directory(self, layer: LayerId) -> bytes:
        """Return the path of the layer."""
        return self._path(layer)

    def tree(self, layer: LayerId) -> bytes:
        """Return the path of the layer's files."""
        return LayerPath.of(self._path(layer)).tree

    def path(self, layer: LayerId) -> LayerPath:
        """Return the paths of the layer's files and its manifest."""
        return LayerPath.of(self._path(layer), self.info(layer).guessed, self.guesses(layer))

    def is_file(self, layer: LayerId) -> bool:
        """Tell whether the layer is one file."""
        return is_in_file(self.tree(layer))

    def absent(self, layer: LayerId) -> Absent | None:
        """Return what is known of a layer file that is not all here; None: it is."""
        directory = self._path(layer)
        try:
            with Closing(os.open(directory + LAYER_HERE, os.O_RDONLY | os.O_CLOEXEC)) as fd:
                size = os.stat(directory + LAYER_FILE).st_size
                here = HereMap(fd, size).bytes_here()
        except FileNotFoundError:
            return None
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC
            with Closing(os.open(directory + LAYER_PLACE, flags)) as fd:
                return Absent(here, size, read_place(fd)[0])
        except FileNotFoundError:
            return Absent(here, size)

    def index(self, layer: LayerId) -> LayerIndex:
        """Return the index of a layer that is one file.  Raises OSError and StoreError."""
        with open(self._path(layer) + LAYER_INDEX, "rb") as file:
            return LayerIndex(mmap(file.fileno(), 0, access=ACCESS_READ))

    def guesses(self, layer: LayerId) -> bytes:
        """Return the letter of ``record.guesses``: whether the layer has guessed owners."""
        if self.info(layer).unrecorded:
            return OWNERS_GUESSED
        if self.is_file(layer):
            return OWNERS_LISTED if self.index(layer).find(GUESSES) else OWNERS_KNOWN
        return listed_guesses(self.tree(layer))

    def mark_unrecorded(self, layer: LayerId) -> None:
        """Remember that nobody saw whose the files of the layer are: it came with that mark."""
        if not self.info(layer).unrecorded:
            self._learn(layer, lambda info: replace(info, unrecorded=True))

    def mark_guessed(self, layer: LayerId) -> None:
        """Remember that files of the layer without a record may be anybody's."""
        if not self.info(layer).guessed:
            self._learn(layer, lambda info: replace(info, guessed=True, unrecorded=True))

    def owners(self, layer: LayerId) -> OwnersManifest:
        """Read the layer's manifest."""
        return read_owners(LayerPath.of(self._path(layer)).owners)

    def info(self, layer: LayerId) -> LayerInfo:
        """Return what is known of the layer as a whole.

        A layer's facts do not change; what other commands find out meanwhile does not matter.
        """
        info = self._infos.get(layer)
        if info is None:
            info = self._infos[layer] = self._read_info(layer)
        for change in self._changes.get(layer, ()):
            info = change(info)
        return info

    def forget(self, layers: Sequence[LayerId]) -> None:
        """Let ``info`` read anew what is known of ``layers``, which become complete now."""
        for layer in layers:
            self._infos.pop(layer, None)

    def visible(self, layers: Sequence[LayerId]) -> list[LayerId]:
        """Return the layers of an image that show, topmost first, down to a root-opaque one.

        A layer that the image has twice is returned once, at its upper place, where it shows all
        of its files; overlayfs refuses the same directory twice.  If overlayfs can't stack so many,
        some of them are joined, see ``pieces``.
        """
        shown = self._shown(layers)
        if len(shown) > self.most_stacked:
            shown = [piece.layer for piece in self.pieces(layers)][::-1]
        return shown

    @cached_property
    def most_stacked(self) -> int:
        """The number of layers that each overlay of a container takes.

        An image has one less: there is room for that of a container that keeps its changes.
        """
        return layers_limit(ID_LENGTH + len(LAYER_TREE))

    def pieces(self, layers: Sequence[LayerId]) -> Sequence[Piece]:
        """Return the layers of an image that show, bottom first, with so many joined as need be.

        All of them are in the store when this returns.  Closing the store removes a joined layer,
        unless an image refers to it.
        """
        from sundog.image.store.joining import stacked

        most = self.most_stacked - 1
        shown = self._shown(layers)[::-1]
        pieces = stacked(shown, most, self.size)
        new = [piece for piece in pieces if piece.parts and not self.exists(piece.layer)]
        if new:
            count = sum(len(piece.members) for piece in new)
            self._tell(f"joining {count} layers into {len(new)}: overlayfs stacks at most {most}")
        for piece in pieces:
            self.have(piece)
        return pieces

    def joined(self, layers: Sequence[LayerId], below: Sequence[LayerId]) -> Piece:
        """Return one layer, in the store, that shows the same as ``layers`` on top of ``below``."""
        from sundog.image.store.joining import Piece, join_of

        own, under = (
            [Piece(layer, (layer,)) for layer in self._shown(some)[::-1]]
            for some in (layers, below)
        )
        piece = join_of(own, under)
        self.have(piece)
        return piece

    def have(self, piece: Piece) -> None:
        """Make the layer of a piece, unless it is here."""
        if not piece.parts or self.exists(piece.layer):
            return
        from sundog.image.store.tree_work import join_layers

        for part in (*piece.below, *piece.parts):
            self.have(part)
        storage = self._storage
        with storage.faults:
            draft = storage.scratch.new()
            parts, below = (
                [self.path(each.layer) for each in reversed(some)]
                for some in (piece.parts, piece.below)
            )
            info = storage.worker.call(join_layers, draft, parts, below)
            info = replace(info, instruction=f"{len(piece.members)} layers, joined")
            # Until an image refers to it, it is garbage.  Another command may know its name.
            storage.garbage.expect_of(Gone("", (piece.layer,)))
            self.add(draft, piece.layer, info)

    def _shown(self, layers: Sequence[LayerId]) -> list[LayerId]:
        shown: list[LayerId] = []
        for layer in reversed(layers):
            if layer in shown:
                continue
            shown.append(layer)
            if self.info(layer).root_opaque:
                break
        return shown

    def paths(self, layers: Sequence[LayerId]) -> list[LayerPath]:
        """Return the paths of the visible ones of ``layers``, topmost first."""
        return [self.path(layer) for layer in self.visible(layers)]

    def readable(self, layers: Sequence[LayerId]) -> list[LayerPath]:
        """Return the paths of the visible layers, by which this process can read the trees.

        Those of layers that are files lead through the worker, and are good while the store is
        open.
        """
        paths = self.paths(layers)
        if any(is_in_file(path.tree) for path in paths):
            worker = self._storage.worker
            worker.call(see, *(path.tree for path in paths))
            paths = [_through(worker.root, path) for path in paths]
        return paths

    def root_mode(self, layers: Sequence[LayerId]) -> int:
        """Return the permission bits of ``/`` in an image of ``layers``."""
        if not layers:
            return 0o755
        if self.is_file(layers[-1]):
            return self.index(layers[-1]).entry(0).mode & 0o7777
        return os.stat(self.tree(layers[-1])).st_mode & 0o7777

    def add(self, draft: bytes, layer: LayerId, info: LayerInfo) -> LayerId:
        """Put a finished layer in place: ``draft`` holds ``tree`` and ``owners``.

        The layer is on the device before other commands can see it.  If ``layer`` is there already,
        the draft is deleted.
        """
        self.add_all([(draft, layer, info)])
        return layer

    def add_own(self, draft: bytes, info: LayerInfo) -> LayerId:
        """Put a finished layer in place, as ``add`` does, under a random ID.

        It may be on the device later, together with others: see ``device``.  Closing the store
        removes it, unless an image or a cache entry refers to it.
        """
        layer = os.urandom(ID_LENGTH // 2).hex()
        self.add_all([(draft, layer, info)], is_own=True)
        return layer

    def add_all(
        self, drafts: Sequence[tuple[bytes, LayerId, LayerInfo]], *, is_own: bool = False
    ) -> bool:
        """Put finished layers in place in this order, as ``add`` does.

        Return whether any was new; if so, all earlier writes are on the device too.
        """
        storage = self._storage
        storage.hold()
        with storage.faults:
            new = [(draft, layer, info) for draft, layer, info in drafts if not self.exists(layer)]
            for draft, _, info in new:
                _write_info(os.path.join(draft, b"layer.json"), info)
                if is_in_file(LayerPath.of(draft).tree):
                    with suppress(FileExistsError):
                        os.mkdir(storage.at(SHOWN), 0o755)
                if storage.notes_users:
                    with suppress(FileExistsError):
                        os.mkdir(os.path.join(draft, USERS), 0o700)
            lags = is_own and bool(storage.session) and storage.device.may_lag()
            if new and not lags:
                storage.device.sync()
                storage.device.catch_up()
            for draft, layer, _ in new:
                if lags:
                    storage.device.note_lag(self._path(layer))
                storage.unreferenced.add(self._path(layer), is_own=is_own)
                storage.place(draft, self._path(layer))
            # Drafts that are in place now are gone from tmp/.
            storage.scratch.dispose(*(draft for draft, _, _ in drafts))
        return bool(new)

    def diff_id(self, layer: LayerId) -> str:
        """Return the digest of the layer's tar.  The first call reads the whole layer."""
        from sundog.image.store.tree_work import write_layer_tar

        info = self.info(layer)
        if not info.diff_id:
            digest = self._storage.worker.call(write_layer_tar, self.path(layer), None)
            self.know_diff_id(layer, digest)
            return digest
        return info.diff_id

    def know_diff_id(self, layer: LayerId, digest: str) -> None:
        """Remember what ``diff_id`` would return."""
        if self.info(layer).diff_id != digest:
            self._learn(layer, lambda info: replace(info, diff_id=digest))

    def portable_id(self, layer: LayerId, *, computes: bool = True) -> str:
        """Return the diff ID by which all stores know the layer, as it came or as it leaves.

        The first call may read the whole layer; without ``computes``, "" is returned instead.
        """
        for blob in self.blobs(layer):
            if not blob.made:
                return blob.diff_id
        return self.diff_id(layer) if computes else self.info(layer).diff_id

    def blobs(self, layer: LayerId) -> tuple[LayerBlob, ...]:
        """Return the known forms of the layer; those that came from outside come first."""
        return tuple(sorted(self.info(layer).blobs, key=lambda blob: blob.made != ""))

    def add_blob(self, layer: LayerId, blob: LayerBlob) -> None:
        """Remember a form of the layer, in place of one that was made the same way.

        If two processes do so at the same moment, one form may be lost.
        """
        if blob not in self.info(layer).blobs:
            self._learn(layer, lambda info: info.with_blob(blob))

    def size(self, layer: LayerId) -> int:
        """Return the bytes in the layer's files, hard links once.  The first call looks at all."""
        known = self._sizes.get(layer)
        if known is None:
            known = self._sizes[layer] = self._size(layer, self.info(layer))
        return known

    def size_if_here(self, layer: LayerId) -> int:
        """Return the layer's size as ``size`` does; 0 if the store lacks the layer."""
        from sundog.image.store.layer_info import size_in

        known = self._sizes.get(layer)
        if known is None:
            try:
                known = size_in(self._info_bytes(layer))
            except FileNotFoundError:
                return 0
            if known is None:
                return self.size(layer)
            self._sizes[layer] = known
        return known

    def stored_size(self, layer: LayerId) -> int:
        """Return the bytes that a layer needs: those of its files, or of the one file that it is.

        It is 0 if the store lacks the layer.
        """
        if not self.is_file(layer):
            return self.size_if_here(layer)
        directory = self._path(layer)
        with suppress(FileNotFoundError):
            return sum(os.stat(directory + name).st_size for name in (LAYER_FILE, LAYER_INDEX))
        return 0

    def _size(self, layer: LayerId, info: LayerInfo) -> int:
        from sundog.image.store.tree_work import content_size

        if info.size is not None:
            return info.size
        size = self._storage.worker.call(content_size, self.tree(layer))
        self._learn(layer, lambda info: replace(info, size=size))
        return size

    def write_down(self) -> None:
        """Write what this command has learned about layers, with one sync for all of them.

        Raises StoreError, or OSError; then some of it may be lost.
        """
        changed, self._changes = self._changes, {}
        made = {}
        with self._storage.faults:
            for layer, changes in changed.items():
                with suppress(FileNotFoundError):  # another command has removed the layer
                    info = self._read_info(layer)  # another command may have replaced it
                    for change in changes:
                        info = change(info)
                    making = self._storage.scratch.name()
                    _write_info(making, info)
                    made[layer] = making
            if made:
                self._storage.device.sync_drafts(*made.values())
            for layer, making in made.items():
                with suppress(FileNotFoundError):
                    os.rename(making, self._path(layer, b"layer.json"))
                self._infos.pop(layer, None)

    def list(self) -> list[LayerId]:
        """Return all layers, in no order."""
        return [os.fsdecode(name) for name in os.listdir(self._storage.at(b"layers"))]

    def sound(self) -> dict[LayerId, LayerInfo]:
        """Return all layers, in no order, but those that a power cut tore: nothing refers to them.

        With each layer comes what is known of it.
        """
        found = {}
        for layer in self.list():
            with suppress(FileNotFoundError, StoreError):
                found[layer] = self.info(layer)
        return found

    def write_tar(self, layer: LayerId, destination: bytes) -> str:
        """Write the layer as a tar to the file ``destination`` and return its digest."""
        from sundog.image.store.tree_work import write_layer_tar

        path = os.path.abspath(destination)
        return self._storage.worker.call(write_layer_tar, self.path(layer), path)

    def _read_info(self, layer: LayerId) -> LayerInfo:
        from sundog.image.store.layer_info import unpack_info

        return unpack_info(self._info_bytes(layer), layer)

    def _info_bytes(self, layer: LayerId) -> bytes:
        path = self._path(layer, b"layer.json")
        with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return read_all(fd)

    def _learn(self, layer: LayerId, change: Callable[[LayerInfo], LayerInfo]) -> None:
        self._changes.setdefault(layer, []).append(change)

    def _path(self, layer: LayerId, *names: bytes) -> bytes:
        return self._storage.at(b"layers", os.fsencode(layer), *names)


def _through(root: bytes, path: LayerPath) -> LayerPath:
    """Return the paths of a layer with the tree as it is in another ``root``."""
    directory, name = os.path.split(path.tree)
    tree = root + os.path.join(os.path.realpath(directory), name)
    return LayerPath(tree, path.owners, path.guessed, path.links, path.guesses)


def _write_info(path: bytes, info: LayerInfo) -> None:
    from sundog.image.store.layer_info import pack_info

    with open(path, "wb") as file:
        file.write(pack_info(info))
