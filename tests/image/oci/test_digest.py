"""Digests: their syntax, and the digests of content."""

import pytest

from sundog.errors import DigestSyntaxError
from sundog.image.oci.digest import Digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_content() -> None:
    assert str(Digest.of(b"")) == EMPTY
    assert Digest.parse(EMPTY) == Digest.of(b"")
    assert len(Digest.of(b"", "sha512").encoded) == 128


@pytest.mark.parametrize(
    "text", ["", "sha256", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), EMPTY[7:], "md5:" + "0" * 32]
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(DigestSyntaxError, match="digest"):
        Digest.parse(text)
