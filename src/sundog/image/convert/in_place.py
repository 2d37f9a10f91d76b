"""``ch-run --lazy oci:DIR``: layers that stay in the directory of a layout, and are read there.

The store gets what it makes of their tables of contents.  Nothing is written to the layout, and
nothing in it is believed: whoever reads checks the digest of each chunk.  A layer without a table
is brought into the store.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property

from sundog.base.configuration.stores import SharedStores
from sundog.base.kernel.files import Closing
from sundog.base.record.lazy_layer import LAYER_PLACE, pack_place
from sundog.errors import ArchiveError, SizeMismatch
from sundog.image.convert.archived import described_here, described_remote
from sundog.image.convert.load import FoundImage
from sundog.image.convert.members import DirectoryMembers
from sundog.image.convert.oci_layout import blob_name
from sundog.image.store.gzip_indexes import copy_shared_index
from sundog.image.transfer.gzip_indexing import GzipIndexing
from sundog.image.transfer.hindrance import hindrance
from sundog.image.transfer.lazy_layers import LazyLayers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.convert.archived import ArchivedLayer
    from sundog.image.convert.members import Members
    from sundog.image.layer.blob_tables import Read
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.platform import Platform
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer
    from sundog.image.transfer.report import Report


def why_not_in_place(store: Store, members: Members) -> str:
    """Return why the layers of ``members`` can't stay where they are; "" if they can."""
    if not isinstance(members, DirectoryMembers):
        return "it is in an archive"
    return hindrance(store)


def name_in_place(path: bytes, digest: str) -> str:
    """Return the name of the image with this ``digest`` whose layers are in the layout ``path``.

    Each path has a name of its own: one of two layouts with an image may vanish.
    """
    place = hashlib.sha256(os.path.realpath(path)).hexdigest()[:16]
    return f"localhost/in-place/{place}@{digest}"


def place_layers(
    store: Store, members: Members, layers: Sequence[ArchivedLayer], report: Report
) -> list[str]:
    """Have the layers of an image in the store, bottom first, by their tables; return their IDs.

    Raises what ``load_layers`` raises.
    """
    assert isinstance(members, DirectoryMembers)  # see why_not_in_place
    origin = _Layout(store, members, os.path.realpath(members.path), layers, report)
    for layer in layers:
        if layer.descriptor is not None:
            origin.check(layer.descriptor)
    remote = [described_here(layer) for layer in layers]

    def tell(named: str) -> None:
        report.warning(f"copied into the storage directory: {named}")

    return LazyLayers(store, origin, report, tell).bring(remote)


def index_layout(store: Store, path: str, tag: str, *, platform: Platform, report: Report) -> int:
    """Have an index in ``store`` of each gzip layer of the image ``tag`` of the layout ``path``.

    Return how many layers have one.  Raises ArchiveError, ContentMismatch and what the store
    raises.
    """
    found = FoundImage.find(store, path, path, tag, platform=platform)
    members = found.members
    if not isinstance(members, DirectoryMembers):
        raise ArchiveError(f"no layout: {path}", "ch-run --lazy oci:DIR reads a directory in place")

    def opened(blob: Descriptor, _label: str) -> int:
        return members.open(blob_name(blob.digest))

    layers = [(layer.descriptor, layer.diff_id) for layer in found.image.layers if layer.descriptor]
    return len(GzipIndexing(store, report, _Layout.whole_limit, opened).layers(layers))


@dataclass(frozen=True)
class _Layout:
    """The place of ``layers``: see ``lazy_layers.Origin``."""

    store: Store
    members: DirectoryMembers
    path: bytes
    layers: Sequence[ArchivedLayer]
    report: Report

    whole_limit = -1

    @property
    def key(self) -> str:
        """The layout: a layer of another one, or of a registry, is another layer."""
        return os.fsdecode(self.path)

    def check(self, blob: Descriptor) -> None:
        """Raise ArchiveError or SizeMismatch if the layout can't have ``blob``."""
        with Closing(self.members.open(blob_name(blob.digest))) as fd:
            size = os.fstat(fd).st_size
        if size != blob.size:
            raise SizeMismatch(
                f"blob {blob.digest} has {size} bytes, the manifest says {blob.size}"
            )

    def reader(self, blob: Descriptor) -> Read:
        """See ``Origin``."""

        def read(offset: int, size: int) -> bytes:
            with Closing(self.members.open(blob_name(blob.digest))) as fd:
                return os.pread(fd, size, offset)

        return read

    def indexes(self, blob: Descriptor) -> Sequence[str]:  # noqa: ARG002 - the protocol's
        """See ``Origin``: there is no need to remember what a shared store has."""
        return ()

    def index(self, blob: Descriptor, target: bytes) -> bool:
        """See ``Origin``."""
        return copy_shared_index(self._shared, blob, target)

    @cached_property
    def _shared(self) -> SharedStores:
        return SharedStores(os.environb, (), self.report.warning)

    def notes(self, layer: RemoteLayer) -> Mapping[bytes, bytes]:
        """See ``Origin``."""
        name = os.fsencode(blob_name(layer.descriptor.digest))
        return {LAYER_PLACE: pack_place(self.path, name)}

    def whole(self, layer: RemoteLayer) -> RemoteLayer:
        """See ``Origin``."""
        found = next(each for each in self.layers if each.diff_id == layer.diff_id)
        return described_remote(self.store, self.members, found)
