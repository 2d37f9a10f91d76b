"""``gzip-indexes/ALGORITHM-HEX``: the index of the gzip blob that has this digest.

A file is as ``record.span_table`` says, windows included.  Only what this store has made of a whole
blob is here, so it is never an index of somebody else's.

``gzip-indexes/foreign/ALGORITHM-HEX``: indexes of this blob that came from registries.  A line for
each, the latest last: the digest of what the registry has, and that of the index, as ``GzipTable``.
The index itself is in a layer, if the store has one of the blob.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap

from sundog.base.record.shared_image import SHARED_INDEXES
from sundog.errors import StoreError
from sundog.image.layer.gzip_index import index_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.base.configuration.stores import SharedStores
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.digest import Digest
    from sundog.image.store.storage import Storage

GZIP_INDEXES, _FOREIGN = b"gzip-indexes", b"foreign"
_FOREIGN_LIMIT = 16  # of a blob
_LINE_LIMIT = 512  # bytes


class GzipIndexes:
    """The indexes of gzip blobs in one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def path(self, blob: Digest) -> bytes:
        """Return the path that the index of ``blob`` has, or would have."""
        return self._storage.at(GZIP_INDEXES, index_name(blob))

    def digest(self, blob: Digest) -> str:
        """Return the digest of the index of ``blob``, as ``GzipTable``; "" if there is none.

        One that is damaged counts as none.
        """
        with suppress(OSError, StoreError), mapped(self.path(blob)) as data:
            return index_digest(data)
        return ""

    def put(self, blob: Digest, parts: Sequence[bytes]) -> None:
        """Keep the index of ``blob``, in place of one that is there.  Raises OSError."""
        with self._storage.faults:
            with suppress(FileExistsError):
                os.mkdir(self._storage.at(GZIP_INDEXES), 0o700)
            self._storage.write_file(self.path(blob), b"".join(parts))

    def foreign(self, blob: Digest) -> dict[str, str]:
        """Return the digests of indexes of ``blob`` that came, by those of what registries have."""
        try:
            with open(self._foreign_path(blob), "rb") as file:
                text = file.read(_FOREIGN_LIMIT * _LINE_LIMIT).decode("ascii", "replace")
        except OSError:
            return {}
        pairs = (line.split(" ") for line in text.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    def note_foreign(self, blob: Digest, came: Digest, index: str) -> None:
        """Remember that ``came``, of a registry, is the ``index`` of ``blob``.  Raises OSError.

        If two processes do so at the same moment, one may be forgotten, and comes again.
        """
        known = self.foreign(blob)
        known.pop(str(came), None)
        last = [*known.items(), (str(came), index)][-_FOREIGN_LIMIT:]
        text = "".join(f"{there} {here}\n" for there, here in last)
        with self._storage.faults:
            os.makedirs(self._storage.at(GZIP_INDEXES, _FOREIGN), 0o700, exist_ok=True)
            self._storage.write_file(self._foreign_path(blob), text.encode())

    def _foreign_path(self, blob: Digest) -> bytes:
        return self._storage.at(GZIP_INDEXES, _FOREIGN, index_name(blob))


def index_name(blob: Digest) -> bytes:
    """Return the name of the file that has the index of ``blob``."""
    return f"{blob.algorithm}-{blob.encoded}".encode()


def copy_shared_index(shared: SharedStores, blob: Descriptor, target: bytes) -> bool:
    """Copy an index of ``blob`` from a shared store to the file ``target``, if one has it.

    Raises OSError, and SundogError for a mistake in the configuration.
    """
    for fd in shared.files(SHARED_INDEXES + b"/" + index_name(blob.digest)):
        if os.fstat(fd).st_size > blob.size:
            continue
        with open(fd, "rb", closefd=False) as file, open(target, "wb") as copy:
            shutil.copyfileobj(file, copy)
        with suppress(StoreError), mapped(target) as data:
            index_digest(data)
            return True
    return False


@contextmanager
def mapped(path: bytes) -> Iterator[mmap]:
    """Map the index in the file ``path``.  Raises OSError, and StoreError for an empty file."""
    with open(path, "rb") as file:
        try:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
        except ValueError:
            raise StoreError("damaged index of a gzip: it is empty", "make it again") from None
    with data:
        yield data
