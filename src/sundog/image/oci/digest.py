"""Digests: the names of content.

Specification: OCI image-spec v1.1, descriptor.md §Digests.  Values only: no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sundog.errors import DigestSyntaxError

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
        """Read ``algorithm:encoded``; raise DigestSyntaxError for another form or algorithm."""
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
        import hashlib  # noqa: PLC0415 - it loads all of OpenSSL, and few digests are computed

        return cls(algorithm, hashlib.new(algorithm, content, usedforsecurity=False).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"
