"""Content that is checked against its digest and its size as it is read.

Specification: OCI image-spec v1.1, descriptor.md §Digests, "Verification".
"""

from __future__ import annotations

from sundog.errors import DigestMismatch, SizeMismatch
from sundog.image.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, Self

    from sundog.image.oci.descriptor import Descriptor

    class Readable(Protocol):
        """A stream of bytes."""

        def read(self, size: int, /) -> bytes:
            """Return up to ``size`` bytes, b"" at the end."""


_CHUNK = 1 << 20
_ALGORITHM = "sha256"


class VerifiedReader:
    """The bytes of ``source``, counted, hashed, and checked at their end.

    The content has to have this ``digest`` and this ``size`` in bytes; None means unknown.
    ``what`` names the content in messages.  No reader reaches the end of wrong content: ``read``
    raises SizeMismatch or DigestMismatch where it would return b"".  It returns no byte beyond
    ``size``.
    """

    def __init__(
        self,
        source: Readable,
        digest: Digest | None = None,
        size: int | None = None,
        what: str = "content",
    ) -> None:
        self._source = source
        self._expected = digest
        self._expected_size = size
        self._what = what
        self._algorithm = digest.algorithm if digest else _ALGORITHM
        import hashlib  # noqa: PLC0415 - see Digest.of

        self._hash = hashlib.new(self._algorithm, usedforsecurity=False)
        self.size = 0  # bytes read so far

    @classmethod
    def of_blob(cls, source: Readable, descriptor: Descriptor) -> Self:
        """Return a reader of the blob that a manifest describes."""
        return cls(source, descriptor.digest, descriptor.size, f"blob {descriptor.digest}")

    @property
    def digest(self) -> Digest:
        """The digest of the bytes read so far, by the expected digest's algorithm or sha256."""
        return Digest(self._algorithm, self._hash.hexdigest())

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; b"" at the end of right content."""
        data = self._source.read(size)
        if not data:
            self._check()
            return data
        expected = self._expected_size
        if expected is not None and self.size + len(data) > expected:
            raise SizeMismatch(
                f"{self._what} has more than {expected} bytes, the manifest says {expected}"
            )
        self.size += len(data)
        self._hash.update(data)
        return data

    def read_all(self) -> bytes:
        """Return all bytes; they have to fit into memory."""
        parts = []
        while part := self.read(_CHUNK):
            parts.append(part)
        return b"".join(parts)

    def drain(self) -> None:
        """Read to the end, which checks the content."""
        while self.read(_CHUNK):
            pass

    def _check(self) -> None:
        if self._expected_size not in (None, self.size):
            raise SizeMismatch(
                f"{self._what} has {self.size} bytes, the manifest says {self._expected_size}"
            )
        if self._expected not in (None, self.digest):
            raise DigestMismatch(
                f"{self._what}: content has digest {self.digest}, expected {self._expected}"
            )
