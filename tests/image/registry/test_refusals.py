"""A registry's words about a refusal: Sundog shows them and does not trust them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from sundog.errors import RegistryError
from sundog.image.oci.digest import Digest
from sundog.image.registry.client import RegistryClient
from sundog.image.registry.config import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.registry.http import Request, Response


class Refusal:
    """An answer of status 400 to any request, and the transport that brings it."""

    status = 400
    headers: Mapping[str, str] = {}

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)
        self.url = ""

    def send(self, request: Request) -> Response:
        self.url = request.url
        return self

    def read(self, size: int) -> bytes:
        return self._body.read(size)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors": [{"message": "go away"}, {"code": "DENIED"}]}', ": go away; DENIED"),
        (b'{"errors": [1]}', ""),
        (b'{"errors": {"message": "x"}}', ""),
        (b"[" * 60_000, ""),
        (b"\xff", ""),
    ],
)
def test_a_registrys_own_words(body: bytes, words: str) -> None:
    client = RegistryClient(Endpoint("h.org", "r"), Refusal(body), lambda: None)
    with pytest.raises(RegistryError) as caught:
        client.has_blob(Digest.of(b""))
    assert caught.value.message == f"{Digest.of(b'')}: h.org answers with HTTP 400{words}"
