"""``blobs/``: content that came from outside, unchanged, by digest.

    blobs/ALGORITHM/HEX       complete: manifests, configurations, compressed layers
    blobs/partial/ALGORITHM-HEX
                              on its way here; the process that fetches it holds a lock on it

A blob gets its final name when it has been checked and is on the device.  A killed process leaves a
partial blob.  The next process that wants this blob resumes there.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress

from sundog.errors import DigestMismatch, DigestSyntaxError
from sundog.image.oci.digest import ALGORITHMS, Digest
from sundog.image.oci.verified import VerifiedReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sundog.image.store.storage import Storage

_PARTIAL = b"partial"
# An interrupted download can be resumed for this long.
_PARTIAL_SECONDS = 7 * 86400


class Partial:
    """The part of a blob that is here: an open file, which no other process writes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on."""
        return os.pread(self._fd, size, offset)

    def append(self, data: bytes) -> None:
        """Append ``data``.  Raises OSError as write(2) does."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, self.size)
            self.size += written
            rest = rest[written:]

    def clear(self) -> None:
        """Discard all that is here."""
        os.ftruncate(self._fd, 0)
        self.size = 0


class Blobs:
    """The blobs of one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def path(self, digest: Digest) -> bytes:
        """Return the path that the complete blob has, or would have."""
        return self._storage.at(b"blobs", digest.algorithm.encode(), digest.encoded.encode())

    def partial_path(self, digest: Digest) -> bytes:
        """Return the path that the partial blob has, or would have."""
        name = f"{digest.algorithm}-{digest.encoded}".encode()
        return self._storage.at(b"blobs", _PARTIAL, name)

    def has(self, digest: Digest) -> bool:
        """Tell whether the blob is here.  Then it stays as long as the store is open."""
        self._storage.hold()
        return os.path.exists(self.path(digest))

    def check(self, digest: Digest) -> bool:
        """Read a blob and tell whether it has this digest; if not, remove it."""
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
        """Return a small blob, None if it is not here or has another digest."""
        self._storage.hold()
        try:
            with open(self.path(digest), "rb", buffering=0) as file:
                return VerifiedReader(file, digest).read_all()
        except (FileNotFoundError, DigestMismatch):
            return None

    def put(self, content: bytes, digest: Digest) -> None:
        """Keep a small blob that the caller has checked."""
        if self.read(digest) == content:
            return
        with self._storage.faults:
            self._make_directory(digest)
            self._storage.write_file(self.path(digest), content)
        self._storage.unreferenced.add(self.path(digest))

    @contextmanager
    def partial(self, digest: Digest) -> Iterator[Partial | None]:
        """Open the partial blob to complete it; give None when the blob is complete.

        Waits while another process completes it.
        """
        self._storage.hold()
        path = self.partial_path(digest)
        with self._storage.faults:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with self._storage.locks.open(path, fcntl.LOCK_EX, create=True) as lock:
                if os.path.exists(self.path(digest)):
                    # The process that completed it may rename it at this moment.
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                    yield None
                else:
                    yield Partial(lock.fd)

    def settle(self, digests: Iterable[Digest]) -> None:
        """Give their final names to blobs that are complete, checked and on the device."""
        with self._storage.faults:
            for digest in digests:
                with suppress(FileNotFoundError):  # another process did it
                    self._make_directory(digest)
                    self._storage.device.rename(self.partial_path(digest), self.path(digest))

    def drop_partial(self, digest: Digest) -> None:
        """Remove a partial blob, which turned out to have another digest."""
        with suppress(FileNotFoundError):
            os.unlink(self.partial_path(digest))

    def list(self) -> dict[str, bytes]:
        """Return digest → path of all complete blobs."""
        found = {}
        for algorithm in ALGORITHMS:
            directory = self._storage.at(b"blobs", algorithm.encode())
            for name in _names(directory):
                digest = f"{algorithm}:{name.decode('ascii', 'replace')}"
                found[digest] = os.path.join(directory, name)
        return found

    def here(self, digests: Iterable[str]) -> Sequence[bytes]:
        """Return the paths of those blobs that are here and complete."""
        paths = []
        for text in digests:
            with suppress(DigestSyntaxError):
                paths.append(self.path(Digest.parse(text)))
        return [path for path in dict.fromkeys(paths) if os.path.exists(path)]

    def collect(self, unwanted: Iterable[bytes]) -> None:
        """Remove the complete blobs ``unwanted``, and partial ones that are too old to resume.

        Call this while no other process uses the store.
        """
        for path in unwanted:
            os.unlink(path)
        directory = self._storage.at(b"blobs", _PARTIAL)
        oldest = time.time() - _PARTIAL_SECONDS
        for name in _names(directory):
            path = os.path.join(directory, name)
            if os.stat(path).st_mtime < oldest:
                os.unlink(path)

    def _make_directory(self, digest: Digest) -> None:
        directory = os.path.dirname(self.path(digest))
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._storage.device.changed(os.path.dirname(directory))


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
