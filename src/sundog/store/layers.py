"""``layers/ID/``: unpacked layers, immutable once they are there.

    tree/       the files; overlayfs's own marks only where something below is hidden
    owners      the manifest, see ``record.owners``
    layer.json  see ``layer_info``

IDs are short because a mount has to name all layers in one page.  A layer that came from outside is
named after what it came from, so the same tar twice is one layer; one that an instruction made has
a random name.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace

from sundog.errors import StoreError
from sundog.record.owners import read_owners
from sundog.record.stack import ID_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.record.owners import OwnersManifest
    from sundog.store.layer_info import LayerBlob, LayerInfo
    from sundog.store.store import Store

LayerId = str


@dataclass(frozen=True, slots=True)
class LayerPath:
    """Where a layer is: its files and its manifest; and what the manifest is worth.

    ``guessed`` is that of ``LayerInfo``.
    """

    tree: bytes
    owners: bytes
    guessed: bool = False


def layer_id(*identity: str) -> LayerId:
    """Return the ID of the layer that ``identity`` describes in full."""
    import hashlib  # noqa: PLC0415 - not needed to look at a store

    text = "\0".join(identity).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:ID_LENGTH]


def random_layer_id() -> LayerId:
    """Return an ID for a layer whose contents nobody has read."""
    return os.urandom(ID_LENGTH // 2).hex()


class Layers:
    """The layers of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def exists(self, layer: LayerId) -> bool:
        """Tell whether the layer is there."""
        return os.path.isdir(self._path(layer))

    def tree(self, layer: LayerId) -> bytes:
        """Return the path of the layer's files."""
        return self._path(layer, b"tree")

    def path(self, layer: LayerId) -> LayerPath:
        """Return where the layer's files and its manifest are."""
        guessed = self.info(layer).guessed
        return LayerPath(self.tree(layer), self._path(layer, b"owners"), guessed)

    def owners(self, layer: LayerId) -> OwnersManifest:
        """Read the layer's manifest."""
        return read_owners(self._path(layer, b"owners"))

    def info(self, layer: LayerId) -> LayerInfo:
        """Read what is known of the layer as a whole."""
        from sundog.store.layer_info import unpack_info  # noqa: PLC0415 - a look needs none

        with open(self._path(layer, b"layer.json"), "rb") as file:
            return unpack_info(file.read(), layer)

    def visible(self, layers: Sequence[LayerId]) -> list[LayerId]:
        """Return the layers of an image that show, topmost first: down to a root-opaque one.

        Of a layer that is there twice, the upper one shows all that the lower one has; overlayfs
        refuses the same directory twice.
        """
        shown: list[LayerId] = []
        for layer in reversed(layers):
            if layer in shown:
                continue
            shown.append(layer)
            if self.info(layer).root_opaque:
                break
        return shown

    def paths(self, layers: Sequence[LayerId]) -> list[LayerPath]:
        """Return where the visible ones of ``layers`` are, topmost first."""
        return [self.path(layer) for layer in self.visible(layers)]

    def root_mode(self, layers: Sequence[LayerId]) -> int:
        """Return the permission bits of ``/`` in an image of ``layers``."""
        if not layers:
            return 0o755
        return os.stat(self.tree(layers[-1])).st_mode & 0o7777

    def add(self, draft: bytes, layer: LayerId, info: LayerInfo) -> LayerId:
        """Put a finished layer in place: ``draft`` holds ``tree`` and ``owners``.

        It is on the device before it can be seen.  When ``layer`` is there already, the draft is
        dropped.
        """
        self.add_all([(draft, layer, info)])
        return layer

    def add_all(self, drafts: Sequence[tuple[bytes, LayerId, LayerInfo]]) -> None:
        """Put finished layers in place in this order, as ``add`` does."""
        scratch = self._store.scratch
        self._store.hold()
        with self._store.faults:
            new = [(draft, layer, info) for draft, layer, info in drafts if not self.exists(layer)]
            for draft, _, info in new:
                _write_info(os.path.join(draft, b"layer.json"), info)
            if new:
                scratch.sync()
            for draft, layer, _ in new:
                try:
                    os.rename(draft, self._path(layer))
                except OSError:
                    if not self.exists(layer):
                        raise  # else another process was faster, or it is there twice
            # A rename has taken away those that are in place.
            scratch.dispose(*(draft for draft, _, _ in drafts))

    def diff_id(self, layer: LayerId) -> str:
        """Return the digest of the layer's tar; reads all of it the first time."""
        from sundog.store.tree_work import write_layer_tar  # noqa: PLC0415 - it needs this module

        info = self.info(layer)
        if not info.diff_id:
            digest = self._store.worker.call(write_layer_tar, self.path(layer), None)
            info = replace(info, diff_id=digest)
            self._replace_info(layer, info)
        return info.diff_id

    def blobs(self, layer: LayerId) -> tuple[LayerBlob, ...]:
        """Return the known forms of the layer, those that came from outside first."""
        return tuple(sorted(self.info(layer).blobs, key=lambda blob: blob.made != ""))

    def add_blob(self, layer: LayerId, blob: LayerBlob) -> None:
        """Remember a form of the layer; another one that was made the same way is forgotten.

        Of two processes that do so at one moment, one may have done it in vain.
        """
        info = self.info(layer)
        if blob in info.blobs:
            return
        others = [
            known
            for known in info.blobs
            if known.descriptor.digest != blob.descriptor.digest  # the new one knows more
            and not (blob.made and known.made == blob.made)
        ]
        self._replace_info(layer, replace(info, blobs=(*others, blob)))

    def size(self, layer: LayerId) -> int:
        """Return the bytes in the layer's files, hard links once; looks at all the first time."""
        from sundog.store.tree_work import content_size  # noqa: PLC0415 - it needs this module

        info = self.info(layer)
        if info.size is not None:
            return info.size
        size = self._store.worker.call(content_size, self.tree(layer))
        # What cannot be written down, as in a store on a full disk, is found again.
        with suppress(OSError, StoreError):
            self._replace_info(layer, replace(info, size=size))
        return size

    def list(self) -> list[LayerId]:
        """Return all layers, in no order."""
        return [os.fsdecode(name) for name in os.listdir(self._store.at(b"layers"))]

    def write_tar(self, layer: LayerId, destination: bytes) -> str:
        """Write the layer as a tar to the file ``destination`` and return its digest."""
        from sundog.store.tree_work import write_layer_tar  # noqa: PLC0415

        path = os.path.abspath(destination)
        return self._store.worker.call(write_layer_tar, self.path(layer), path)

    def _replace_info(self, layer: LayerId, info: LayerInfo) -> None:
        with self._store.faults:
            making = self._store.scratch.name()
            _write_info(making, info)
            with open(making, "rb") as file:
                os.fsync(file.fileno())  # this one is on the device before it replaces the other
            os.rename(making, self._path(layer, b"layer.json"))

    def _path(self, layer: LayerId, *names: bytes) -> bytes:
        return self._store.at(b"layers", layer.encode(), *names)


def _write_info(path: bytes, info: LayerInfo) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(info.to_json(), file)
