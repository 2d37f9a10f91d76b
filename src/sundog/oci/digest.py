"""Digests: the names of content.

Specification: OCI image-spec v1.1, descriptor.md §Digests.  Values only: no I/O, nothing of ours is
imported but ``errors``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sundog.errors import DigestMismatch, DigestSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

# The registered algorithms and the length of their encoded part (lower-case hex).
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}

_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """``algorithm:encoded``, as in ``sha256:e3b0c442…``."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:encoded``; raise DigestSyntaxError when it is not a registered one."""
        algorithm, colon, encoded = text.partition(":")
        if not colon:
            raise DigestSyntaxError(f"digest {text!r}: no algorithm (as in sha256:…)")
        length = ALGORITHMS.get(algorithm)
        if length is None:
            known = ", ".join(ALGORITHMS)
            raise DigestSyntaxError(f"digest {text!r}: unknown algorithm (known: {known})")
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise DigestSyntaxError(
                f"digest {text!r}: {algorithm} needs {length} lower-case hexadecimal digits"
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        """Compute the digest of ``content``."""
        return cls(algorithm, _hasher(algorithm, content).hexdigest())

    def hasher(self) -> _Hash:
        """Return a fresh hashlib object of this digest's algorithm, to be fed a stream."""
        return _hasher(self.algorithm)

    def check(self, hexdigest: str, what: str) -> None:
        """Raise DigestMismatch naming ``what`` unless ``hexdigest`` is this digest's."""
        if hexdigest != self.encoded:
            raise DigestMismatch(
                f"{what}: content has digest {self.algorithm}:{hexdigest}, expected {self}"
            )

    def verify(self, content: bytes, what: str = "blob") -> None:
        """Raise DigestMismatch naming ``what`` unless ``content`` has this digest."""
        hasher = self.hasher()
        hasher.update(content)
        self.check(hasher.hexdigest(), what)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


def _hasher(algorithm: str, content: bytes = b"") -> _Hash:
    import hashlib  # noqa: PLC0415 - it loads all of OpenSSL, and a digest may just be compared

    return hashlib.new(algorithm, content, usedforsecurity=False)
