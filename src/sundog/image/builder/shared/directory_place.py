"""A directory with entries of a shared build cache: an OCI layout, each entry an image by its key.

Specification: OCI image-spec v1.1, image-layout.md.  Several builds may write at once: each takes
the lock of the file ``oci-layout`` for the moment in which it adds to ``index.json``.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import replace

from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.files import Closing
from sundog.errors import BuildError, ManifestError, NotInRegistryError
from sundog.image.builder.shared.entry import (
    CONFIG_LIMIT,
    EMPTY_BLOB,
    EMPTY_LAYER,
    entry_documents,
    read_entry,
    read_manifest,
)
from sundog.image.builder.shared.place import LOCAL, Found, PlaceText
from sundog.image.convert.oci_layout import REF_NAME
from sundog.image.oci.index import Index
from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT
from sundog.image.oci.verified import VerifiedReader
from sundog.image.transfer.layers import RemoteLayer
from sundog.image.transfer.packing import Packing, pack, warn_of_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import BinaryIO, Self

    from sundog.image.builder.shared.entry import Result
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.digest import Digest
    from sundog.image.oci.verified import Readable
    from sundog.image.store.store import Store

    Blob = tuple[Descriptor, BinaryIO]

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20
_OPENED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _FileStream:
    """The bytes of a blob's file from ``offset`` on, as ``fetch.Stream``."""

    def __init__(self, path: bytes, offset: int) -> None:
        self.offset = offset
        self.host = os.fsdecode(path)
        self._file = os.fdopen(_opened(path), "rb", buffering=0)
        self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end."""
        return self._file.read(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class DirectoryPlace:
    """A directory; ``text`` has its path, and how layers get there."""

    def __init__(self, text: PlaceText, warn: Callable[[str], None]) -> None:
        self._path = os.path.abspath(os.fsencode(text.where))
        self._packing = Packing(text.compression)
        self._option = text.option
        self._warn = warn

    @classmethod
    def imported(cls, store: Store, warn: Callable[[str], None]) -> Self:
        """Return the place of what ``build-cache --import`` has brought into a store."""
        return cls(PlaceText("--import", LOCAL, os.fsdecode(store.imported)), warn)

    @property
    def name(self) -> str:
        """The path."""
        return os.fsdecode(self._path)

    def find(self, key: str) -> Found | None:
        """Return the entry of this name; see ``Place``."""
        described = self._entries().get(key)
        if described is None:
            return None
        content = self._read(described, MANIFEST_SIZE_LIMIT)
        manifest = read_manifest(key, content, described.media_type)
        entry = read_entry(key, manifest, self._read(manifest.config, CONFIG_LIMIT))
        if entry.layer is None:
            return Found(entry, None)
        path = self._blob(entry.layer.digest)

        def opened(offset: int) -> _FileStream:
            return _FileStream(path, offset)

        layer = RemoteLayer(
            entry.layer, entry.diff_id, [opened], "", entry.text, guessed=entry.guessed
        )
        return Found(entry, layer)

    def write(self, store: Store, result: Result, *, replaces: bool) -> None:
        """Write the entry; see ``Place``."""
        try:
            if replaces or result.key not in self._entries():
                self._write(store, result)
        except OSError as error:
            raise BuildError(f"can't write {self.name}: {error.strerror}") from error

    def take(self, entries: Mapping[str, Descriptor], blobs: Iterable[Blob]) -> None:
        """Take over entries, by their keys, with all their ``blobs``; raise OSError.

        Raises ContentMismatch for a blob that is not what it should be; then no entry is there.
        """
        os.makedirs(self._at(b"blobs", b"sha256"), exist_ok=True)
        for descriptor, stream in blobs:
            with stream:
                self._put_stream(descriptor.digest, VerifiedReader.of_blob(stream, descriptor))
        self._enter(entries)

    def _write(self, store: Store, result: Result) -> None:
        os.makedirs(self._at(b"blobs", b"sha256"), exist_ok=True)
        blob, guessed = EMPTY_BLOB, False
        if result.layer is None:
            self._put(blob.descriptor.digest, EMPTY_LAYER)
        else:
            warn_of_layer(store, result.layer, result.text, self._warn)
            packed = pack(store, result.layer, self._packing)
            try:
                self._put_file(packed.blob.descriptor.digest, packed.path)
            finally:
                packed.discard(store)
            blob, guessed = packed.blob, store.layers.info(result.layer).guessed
        leaving = entry_documents(result, blob, guessed=guessed)
        self._put(leaving.manifest.config.digest, leaving.config)
        self._put(leaving.descriptor.digest, leaving.content)
        self._enter({result.key: leaving.descriptor})

    def _enter(self, added: Mapping[str, Descriptor]) -> None:
        """Name entries, whose blobs are there, in the index."""
        lock = os.open(self._at(b"oci-layout"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with Closing(lock):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.fstat(lock).st_size:
                os.write(lock, _LAYOUT)
            entries = self._entries()
            for key, descriptor in added.items():
                entries[key] = replace(descriptor, annotations={REF_NAME: key})
            content = Index(tuple(entries.values())).to_bytes()
            if len(content) > MANIFEST_SIZE_LIMIT:
                raise BuildError(f"{self.name} is full", "begin another one")
            replace_file(self._at(b"index.json"), content, mode=0o644)

    def _entries(self) -> dict[str, Descriptor]:
        """Return the descriptors of the index by name; {} for a layout that is not there yet."""
        try:
            with (
                Closing(_opened(self._at(b"index.json"))) as fd,
                open(fd, "rb", closefd=False) as file,
            ):
                content = file.read(MANIFEST_SIZE_LIMIT + 1)
        except FileNotFoundError:
            if self._option == "--cache-from":
                raise BuildError(f"no OCI layout: {self.name}") from None
            return {}
        except OSError as error:
            raise BuildError(f"can't read {self.name}: {error.strerror}") from error
        index = Index.from_json(content)
        return {each.annotations.get(REF_NAME, str(each.digest)): each for each in index.manifests}

    def _read(self, described: Descriptor, limit: int) -> bytes:
        """Return a small blob, checked; raise ContentMismatch, ManifestError, BuildError."""
        if described.size > limit:
            raise ManifestError(f"a document of {described.size} bytes: more than {limit}")
        with open(_opened(self._blob(described.digest)), "rb", buffering=0) as file:
            return VerifiedReader.of_blob(file, described).read_all()

    def _put(self, digest: Digest, content: bytes) -> None:
        if not os.path.exists(self._blob(digest)):
            replace_file(self._blob(digest), content, mode=0o644)

    def _put_file(self, digest: Digest, path: bytes) -> None:
        with open(path, "rb") as source:
            self._put_stream(digest, source)

    def _put_stream(self, digest: Digest, source: Readable) -> None:
        place = self._blob(digest)
        if os.path.exists(place):
            return
        draft = os.path.join(os.path.dirname(place), b".sundog-" + os.urandom(8).hex().encode())
        try:
            with open(draft, "wb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.rename(draft, place)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)

    def _blob(self, digest: Digest) -> bytes:
        return self._at(b"blobs", digest.algorithm.encode(), digest.encoded.encode())

    def _at(self, *names: bytes) -> bytes:
        return os.path.join(self._path, *names)


def _opened(path: bytes) -> int:
    """Open a file for reading; raise NotInRegistryError where a blob is missing."""
    try:
        return os.open(path, _OPENED)
    except FileNotFoundError as error:
        if path.endswith(b"index.json"):
            raise
        raise NotInRegistryError(f"missing: {os.fsdecode(path)}") from error
