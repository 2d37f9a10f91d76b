"""A layer that is not all here, as those see it who fetch the rest.

One process fetches a block, whatever runs on this node and on others: it holds a lock on the byte
of the block in ``here``.  The locks belong to the open file (fcntl_locking(2), "Open file
description locks"), so they end with the process.  On a file system that refuses or hides locks,
two processes may fetch a block, and write the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
from contextlib import suppress

from sundog.base.kernel.files import Closing
from sundog.base.record.chunk_table import ChunkTable, note_checked
from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_FILE, LAYER_SPANS
from sundog.base.record.lazy_layer import (
    LAYER_HERE,
    LAYER_REFUSED,
    LAYER_SOURCE,
    REFUSALS,
    REFUSED_HINT,
    HereMap,
    check_refused,
    is_incomplete,
)
from sundog.errors import ArchiveError, ContentMismatch, StoreError, SundogError
from sundog.image.layer.blob_check import are_in_place, check_blob_layer, check_gzip_layer
from sundog.image.layer.blob_tables import table_digest
from sundog.image.layer.gzip_index import index_digest
from sundog.image.oci.verified import VerifiedReader
from sundog.image.registry.blob_ranges import BlobPlace, BlobRanges
from sundog.image.registry.lazy_source import SOURCE_LIMIT, LazySource
from sundog.image.store.gzip_indexes import mapped
from sundog.image.store.layer_info import LayerBlob, pack_info, unpack_info
from sundog.image.transfer.present import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sundog.image.layer.blob_check import ChunkKey, Wait
    from sundog.image.registry.session import Session

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit machines: fcntl(2)
_BUSY = (errno.EAGAIN, errno.EACCES)
_INFO = b"/layer.json"
ATTEMPTS_FOR_EACH = 2  # of a place, when its bytes are wrong


class LazyLayer:
    """The layer in ``directory``, a path; its files are open until ``close``.

    ``discards`` counts how often the bytes of a block were wrong, if it is not as of all of them.
    """

    def __init__(self, directory: bytes, session: Session) -> None:
        """Open the layer.  Raises OSError, StoreError and ConfigurationError."""
        with open(directory + LAYER_SOURCE, "rb") as file:
            self.source = LazySource.unpack(file.read(SOURCE_LIMIT))
        (remote, *_) = session.registries.remotes(self.source.reference)
        places = [
            BlobPlace(session.client(endpoint), session.rests[endpoint.host])
            for endpoint in remote.endpoints
        ]
        self.ranges = BlobRanges(self.source.descriptor, places)
        self.discards: dict[int, int] = {}
        self._rounds = 0  # how often all of it was here, and was wrong
        self._lock = threading.Lock()  # a block is written by one thread
        self.host = remote.endpoints[-1].host
        self._directory = directory
        self._file = os.open(directory + LAYER_FILE, os.O_RDWR | os.O_CLOEXEC)
        # A client of NFS writes whole pages, with what it had read of other nodes' blocks.  Of a
        # file with a lock, it writes what it is given.
        with suppress(OSError):
            _set_lock(self._file, fcntl.F_RDLCK, 0, 1)
        self._map = os.open(directory + LAYER_HERE, os.O_RDWR | os.O_CLOEXEC)
        self.here = HereMap(self._map, self.source.descriptor.size)

    @property
    def is_deleted(self) -> bool:
        """Tell whether the layer is gone: only readers who have it open need more of it."""
        return not os.fstat(self._file).st_nlink

    def close(self) -> None:
        """Close the files, and give up all locks."""
        os.close(self._file)
        os.close(self._map)

    def write(self, blocks: range, data: bytes) -> None:
        """Write those of adjacent blocks that are not here, and note that they are.

        Nothing overwrites a block that is here: perhaps it was checked.  Raises OSError.
        """
        view, (begin, _) = memoryview(data), self.here.extent(blocks)
        with self._lock:
            for run in runs(self.here.missing(blocks.start, blocks.stop)):
                start, stop = self.here.extent(run)
                while start < stop:
                    start += os.pwrite(self._file, view[start - begin : stop - begin], start)
                self.here.note(run, here=True)

    def discard(self, block: int) -> None:
        """Forget a block, whose bytes were wrong.  Raises OSError."""
        self.discards[block] = self.discards.get(block, self._rounds) + 1
        self.here.note(range(block, block + 1), here=False)

    def attempt(self, block: int) -> int:
        """Return which place is to send the block: see ``BlobRanges.open``.

        It is the number of all places if each has sent wrong bytes.
        """
        return self.discards.get(block, self._rounds) // ATTEMPTS_FOR_EACH

    def attempt_at_all(self) -> int:
        """Return which place is to send all of the blob."""
        return max(map(self.attempt, (-1, *self.discards)))

    def lock(self, first: int, count: int) -> bool:
        """Lock blocks; tell whether no other process has locked one of them."""
        try:
            _set_lock(self._map, fcntl.F_WRLCK, first, count)
        except OSError as error:
            return error.errno not in _BUSY
        return True

    def unlock(self, first: int, count: int) -> None:
        """Give up the locks of these blocks."""
        with suppress(OSError):
            _set_lock(self._map, fcntl.F_UNLCK, first, count)

    def complete(self, wait: Wait) -> None:
        """Check all of the layer, as it comes; note that it was checked, if nobody else has.

        Raises ContentMismatch if its bytes are not the blob; they are discarded.  Raises StoreError
        if the blob is not what its manifest and its configuration say: the layer is never used
        again.  Raises OSError, and what ``wait`` raises.
        """
        check_refused(self._directory)
        if not is_incomplete(self._directory):
            return
        path, descriptor = self._directory + LAYER_FILE, self.source.descriptor
        error, in_place = self._checked(path, wait)
        if error is not None:
            self._check_bytes(path)
            text = f"the image lies: layer {descriptor.digest.encoded[:7]}: {error.message}"
            self._refuse(text.encode("utf-8", "backslashreplace"))
            raise StoreError(text, REFUSED_HINT) from error
        os.fsync(self._file)
        self._note_places(in_place)
        blob = LayerBlob(descriptor, self.source.diff_id, places=(self.source.place,))
        with open(self._directory + _INFO, "rb") as file:
            info = unpack_info(file.read(), descriptor.digest.encoded[:7])
        self._replace(_INFO, pack_info(info.with_blob(blob)))
        for name in (LAYER_HERE, LAYER_SOURCE):
            with suppress(FileNotFoundError):
                os.unlink(self._directory + name)

    def _checked(self, path: bytes, wait: Wait) -> tuple[SundogError | None, Collection[ChunkKey]]:
        """Compare what is on disk, all of it, with the blob; return the error, and as ``_check``.

        A block that was discarded may be another one since it was read: then all is read again.
        """
        found: tuple[SundogError | None, Collection[ChunkKey]]
        while True:
            begun = self.here.mark()
            try:
                found = None, self._check(path, wait)
            except (ContentMismatch, ArchiveError) as error:
                found = error, ()
            wait(0, self.here.size)
            if self.here.mark() == begun:
                return found

    def _check_bytes(self, path: bytes) -> None:
        """Tell by ContentMismatch if these are not the bytes of the blob; discard them then."""
        try:
            with open(path, "rb") as file:
                VerifiedReader.of_blob(file, self.source.descriptor).drain()
        except ContentMismatch as error:
            # Nobody knows whose bytes were wrong: next time, all come from one place again.
            self._rounds += 1
            self.here.note(range(self.here.count), here=False)
            self.discards.clear()
            error.message = f"{self.host}: {error.message}"
            raise

    def _check(self, path: bytes, wait: Wait) -> Collection[ChunkKey]:
        """Compare the blob with its table, or with its index; see ``check_blob_layer``."""
        source = self.source
        if not os.path.exists(self._directory + LAYER_SPANS):
            return check_blob_layer(path, source.descriptor, source.diff_id, wait)
        with mapped(self._directory + LAYER_SPANS) as index:
            check_gzip_layer(path, source.descriptor, source.diff_id, index, wait)
        return ()

    def _refuse(self, why: bytes) -> None:
        """Let nobody use the layer, and no pull begin another one of the same blob and table."""
        blob, spans = self.source.descriptor, self._directory + LAYER_SPANS
        if os.path.exists(spans):
            with mapped(spans) as index:
                table = index_digest(index)
        else:
            table = table_digest(blob)
        name = refusal(blob, table, self.source.diff_id).encode()
        # A layer that was deleted meanwhile is not below the storage directory.
        with (
            suppress(OSError),
            open(b"/".join((self._directory, b"../..", REFUSALS, name)), "xb") as file,
        ):
            file.write(why)
        self._replace(LAYER_REFUSED, why)

    def _note_places(self, in_place: Collection[ChunkKey]) -> None:
        """Spare later readers the digests of chunks, if all are where their table says."""
        path = self._directory + LAYER_CHUNKS
        if os.path.exists(path):
            with mapped(path) as data, open(path, "rb+") as file:
                table = ChunkTable(data)
                if are_in_place(table, in_place):
                    note_checked(file.fileno(), table.kind)

    def _replace(self, name: bytes, data: bytes) -> None:
        """Write a small file of the layer as a whole."""
        draft = self._directory + name + b".new"
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, self._directory + name)


def _set_lock(fd: int, kind: int, first: int, count: int) -> None:
    request = _FLOCK.pack(kind, os.SEEK_SET, first, count, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)


def runs(blocks: Sequence[int]) -> Iterator[range]:
    """Yield the blocks of a list in order as ranges of adjacent ones."""
    start = 0
    for at in range(1, len(blocks) + 1):
        if at == len(blocks) or blocks[at] != blocks[at - 1] + 1:
            yield range(blocks[start], blocks[at - 1] + 1)
            start = at


def source_of(directory: bytes) -> LazySource:
    """Return where the rest of the layer in ``directory`` is.  Raises OSError and StoreError."""
    with Closing(os.open(directory + LAYER_SOURCE, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        return LazySource.unpack(os.read(fd, SOURCE_LIMIT))
