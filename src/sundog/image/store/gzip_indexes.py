"""``gzip-indexes/ALGORITHM-HEX``: the index of the gzip blob that has this digest.

A file is as ``record.span_table`` says, windows included.  Only what this store has made of a whole
blob is here, so it is never an index of somebody else's.
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

GZIP_INDEXES = b"gzip-indexes"


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
