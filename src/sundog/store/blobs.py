"""``blobs/``: content as it came from outside, or is to go there, by digest.

    blobs/ALGORITHM/HEX       complete: manifests, configurations, compressed layers
    blobs/partial/ALGORITHM-HEX
                              on its way here; locked by the process that fetches it

A blob has its final name when it has been checked and is on the device.  What a killed process
leaves is partial, and the next one that wants the blob goes on from there.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress

from sundog.errors import DigestMismatch
from sundog.kernel.files import sync_path
from sundog.oci.digest import ALGORITHMS
from sundog.oci.verified import VerifiedReader
from sundog.store.locks import wait_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sundog.oci.digest import Digest
    from sundog.store.store import Store

_PARTIAL = b"partial"
# For as long somebody may come back for what was fetched of a blob.
_PARTIAL_SECONDS = 7 * 86400


class Partial:
    """What there is of a blob: an open file, which no other process writes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on."""
        return os.pread(self._fd, size, offset)

    def append(self, data: bytes) -> None:
        """Write ``data`` behind what is there.  Raises OSError as write(2) does."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, self.size)
            self.size += written
            rest = rest[written:]

    def clear(self) -> None:
        """Begin anew."""
        os.ftruncate(self._fd, 0)
        self.size = 0


class Blobs:
    """The blobs of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def path(self, digest: Digest) -> bytes:
        """Return where the complete blob is, or would be."""
        return self._store.at(b"blobs", digest.algorithm.encode(), digest.encoded.encode())

    def partial_path(self, digest: Digest) -> bytes:
        """Return where a blob is on its way, or would be."""
        name = f"{digest.algorithm}-{digest.encoded}".encode()
        return self._store.at(b"blobs", _PARTIAL, name)

    def has(self, digest: Digest) -> bool:
        """Tell whether the blob is here; it stays as long as the store is open."""
        self._store.hold()
        return os.path.exists(self.path(digest))

    def check(self, digest: Digest) -> bool:
        """Read a blob and tell whether it is what it should be; else remove it."""
        try:
            with open(self.path(digest), "rb", buffering=0) as file:
                VerifiedReader(file, digest).drain()
        except FileNotFoundError:
            return False
        except DigestMismatch:
            with suppress(FileNotFoundError):
                os.unlink(self.path(digest))
            return False
        return True

    def read(self, digest: Digest) -> bytes | None:
        """Return a small blob; None where it is not here, or not what it should be."""
        self._store.hold()
        try:
            with open(self.path(digest), "rb", buffering=0) as file:
                return VerifiedReader(file, digest).read_all()
        except (FileNotFoundError, DigestMismatch):
            return None

    def put(self, content: bytes, digest: Digest) -> None:
        """Keep a small blob that has been checked."""
        if self.read(digest) == content:
            return
        with self._store.faults:
            making = self._store.scratch.name()
            with open(making, "wb") as file:
                file.write(content)
            sync_path(making)
            self._rename(making, digest)
        self._store.loose.add(self.path(digest))

    @contextmanager
    def partial(self, digest: Digest) -> Iterator[Partial | None]:
        """Open what there is of a blob, to complete it; None when it is complete meanwhile.

        Waits while another process does the same.
        """
        self._store.hold()
        path = self.partial_path(digest)
        with self._store.faults:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            while True:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    wait_lock(fd, path)
                    if os.path.exists(self.path(digest)):
                        with suppress(FileNotFoundError):
                            os.unlink(path)
                        yield None
                        return
                    if _is_at(path, fd):
                        yield Partial(fd)
                        return
                finally:
                    os.close(fd)  # and unlock: nothing else holds this open file

    def settle(self, digests: Iterable[Digest]) -> None:
        """Give blobs that were completed and checked their names; they are on the device."""
        with self._store.faults:
            for digest in digests:
                with suppress(FileNotFoundError):  # another process did it
                    self._rename(self.partial_path(digest), digest)

    def drop_partial(self, digest: Digest) -> None:
        """Remove what there is of a blob: it was not what it should be."""
        with suppress(FileNotFoundError):
            os.unlink(self.partial_path(digest))

    def list(self) -> dict[str, bytes]:
        """Return the digests of all complete blobs, and where they are."""
        found = {}
        for algorithm in ALGORITHMS:
            directory = self._store.at(b"blobs", algorithm.encode())
            for name in _names(directory):
                digest = f"{algorithm}:{name.decode('ascii', 'replace')}"
                found[digest] = os.path.join(directory, name)
        return found

    def collect(self, unwanted: Iterable[bytes]) -> None:
        """Remove complete blobs, and partial ones that nobody came back for.

        No other process uses the store.
        """
        for path in unwanted:
            os.unlink(path)
        directory = self._store.at(b"blobs", _PARTIAL)
        oldest = time.time() - _PARTIAL_SECONDS
        for name in _names(directory):
            path = os.path.join(directory, name)
            if os.stat(path).st_mtime < oldest:
                os.unlink(path)

    def _rename(self, path: bytes, digest: Digest) -> None:
        target = self.path(digest)
        directory = os.path.dirname(target)
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._store.device.changed(os.path.dirname(directory))
        self._store.device.rename(path, target)


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _is_at(path: bytes, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
