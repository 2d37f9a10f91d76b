"""The indexes of layers that are an ordinary gzip, on their way into the store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sundog.base.kernel.files import Closing
from sundog.errors import ArchiveError
from sundog.image.layer.blob_tables import table_digest
from sundog.image.layer.gzip_index import index_gzip
from sundog.image.layer.limits import current_meter
from sundog.image.oci.media_types import OCI_LAYER_GZIP, as_oci
from sundog.image.oci.verified import VerifiedReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report


@dataclass(frozen=True)
class GzipIndexing:
    """Makes indexes in ``store`` of layers that have more than ``whole_limit`` bytes.

    ``opened`` opens the file of a blob, which its label names to the user.
    """

    store: Store
    report: Report
    whole_limit: int
    opened: Callable[[Descriptor, str], int]

    def layers(self, layers: Sequence[tuple[Descriptor, str]]) -> list[Descriptor]:
        """Have the indexes of ``layers``, which have a diff_id each; return those that have one.

        Raises ContentMismatch for a blob that is not what it should be, and what ``opened`` raises.
        """
        found = []
        for number, (blob, diff_id) in enumerate(layers, 1):
            label = f"layer {number}/{len(layers)}: {blob.digest.encoded[:7]}"
            why = self._unfit(blob) or self._index(blob, diff_id, label)
            if why:
                self.report.info(f"{label}: no index: {why}")
            else:
                found.append(blob)
        return found

    def _unfit(self, blob: Descriptor) -> str:
        """Return why a layer needs no index, or can have none; "" if nothing speaks against it."""
        if blob.size <= self.whole_limit:
            return "small"
        if table_digest(blob):
            return "it has a table of contents"
        is_gzip = as_oci(blob.media_type) == OCI_LAYER_GZIP
        return "" if is_gzip else f"no gzip: {blob.media_type}"

    def _index(self, blob: Descriptor, diff_id: str, label: str) -> str:
        """Have the index of a layer; return why it can have none, or ""."""
        store, digest = self.store, blob.digest
        waits = partial(self.report.verbose, f"{label}: waiting for another ch-image index")
        # Of many processes, one makes it.
        with store.turn(f"index-{digest.encoded[:32]}").held(waits):
            if store.gzip_indexes.digest(digest):
                self.report.info(f"{label}: using existing index")
                return ""
            with (
                Closing(self.opened(blob, label)) as fd,
                open(fd, "rb", buffering=0, closefd=False) as file,
            ):
                try:
                    parts = index_gzip(file, blob, diff_id, current_meter())
                except ArchiveError as error:
                    file.seek(0)
                    VerifiedReader.of_blob(file, blob).drain()  # else it is damaged
                    return error.message
            store.gzip_indexes.put(digest, parts)
        self.report.info(f"{label}: index of {sum(map(len, parts)):,} bytes")
        return ""
