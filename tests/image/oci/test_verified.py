"""The reader that checks content against its digest and its size at the end."""

import io
from collections import deque
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sundog.errors import ContentMismatch, DigestMismatch, SizeMismatch
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import ALGORITHMS, Digest
from sundog.image.oci.media_types import OCI_LAYER
from sundog.image.oci.verified import VerifiedReader

EMPTY = str(Digest.of(b""))


@given(st.binary(), st.sampled_from(sorted(ALGORITHMS)), st.integers(1, 10))
def test_right_content_comes_through(content: bytes, algorithm: str, step: int) -> None:
    digest = Digest.of(content, algorithm)
    reader = VerifiedReader(io.BytesIO(content), digest, len(content))
    parts = []
    while part := reader.read(step):
        assert len(part) <= step
        parts.append(part)
    assert b"".join(parts) == content
    assert (reader.digest, reader.size) == (digest, len(content))


@given(st.binary(), st.binary(), st.integers(1, 10))
def test_no_other_content_comes_to_its_end(content: bytes, other: bytes, step: int) -> None:
    assume(content != other)
    reader = VerifiedReader(io.BytesIO(other), Digest.of(content), len(content))
    with pytest.raises(ContentMismatch):
        deque(iter(partial(reader.read, step), b""))
    assert reader.size <= len(content)


def test_end_is_refused_each_time() -> None:
    reader = VerifiedReader(io.BytesIO(b""), Digest.of(b"a"), what="layer")
    for _ in range(2):
        with pytest.raises(
            DigestMismatch, match=f"^layer: content has digest {EMPTY}, expected sha256:"
        ):
            reader.read(1)


def test_sizes_are_told() -> None:
    blob = Descriptor(OCI_LAYER, Digest.of(b"abc"), 3)
    with pytest.raises(SizeMismatch, match=f"^blob {blob.digest} has 2 bytes, the manifest says 3"):
        VerifiedReader.of_blob(io.BytesIO(b"ab"), blob).drain()
    with pytest.raises(SizeMismatch, match="has more than 3 bytes, the manifest says 3"):
        VerifiedReader.of_blob(io.BytesIO(b"abcd"), blob).read_all()


def test_what_is_endless_is_not_read_on() -> None:
    class Endless:
        asked = 0

        def read(self, size: int, /) -> bytes:
            self.asked += 1
            return bytes(min(size, 1000))

    source = Endless()
    with pytest.raises(SizeMismatch):
        VerifiedReader(source, size=2500).drain()
    assert source.asked == 3


def test_of_unknown_content_the_digest_is_told() -> None:
    reader = VerifiedReader(io.BytesIO(b"abc"))
    assert reader.read_all() == b"abc"
    assert (reader.digest, reader.size) == (Digest.of(b"abc"), 3)
