"""URLs from others: Sundog reads a URL in the only possible way, or refuses it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import parse_url

from sundog.errors import AddressError
from sundog.image.registry.address import Address

# Parts of URLs in which two readers may see two hosts.
_PARTS = st.sampled_from(
    ["http", "https", "HTTP", "://", ":", "/", "//", "\\", "@", "?", "#", "[", "]", "%", ".", "..",
     "a", "B-c", "x_y", "localhost", "127.0.0.1", "0x7f", "1", "::1", "[::1]", "80", "65536", "0",
     " ", "\t", "\n", "\0", "\x1b", "\x85", "\xb2", "\u3002", "\ud800", "%2e", ";", "&", "=", "~"]
)  # fmt: skip
_URLS = st.lists(_PARTS, max_size=12).map("".join)


@given(st.one_of(_URLS, _URLS.map("http://".__add__), st.text().map("https://".__add__)))
@example("http://a\\@b/")
@example("http://[::1/")
@example("http://a@b@c/")
def test_all_readers_see_the_same_host(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    other, third = urlsplit(str(address)), parse_url(str(address))
    assert address.host == (other.hostname or "") == (third.host or "").strip("[]")
    assert address.port == (other.port or {"http": 80, "https": 443}[address.scheme])
    assert third.port in (None, address.port)
    assert other.username is third.auth is None
    assert Address.parse(str(address)) == address


@given(_URLS, st.one_of(_URLS, st.text()))
def test_what_follows_is_an_address_or_an_error(base: str, location: str) -> None:
    try:
        there = Address.parse(f"http://registry.test/{base}").follow(location)
    except AddressError:
        return
    assert Address.parse(str(there)) == there


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x?a=b", "https://r.test:5000/v2/x?a=b"),
        ("x", "https://r.test:5000/v2/x"),
        ("?x", "https://r.test:5000/v2/?x"),
        ("//other.test/x", "https://other.test/x"),
        ("HTTP://Other.test", "http://Other.test"),
        ("/a b\xc3\xa4#c", "https://r.test:5000/a b%C3%A4"),
    ],
)
def test_locations(location: str, expected: str) -> None:
    assert str(Address.parse("https://r.test:5000/v2/").follow(location)) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("127.0.0.1:80", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("[::ffff:127.0.0.1]", True),
        ("[0:0:0:0:0:0:0:1]", True),
        ("127.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil", False),
        ("evil.localhost", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("[::]", False),
        ("[::ffff:10.0.0.1]", False),
        ("128.0.0.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert Address.parse(f"http://{host}").is_loopback is expected


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "localhost.",
     "localhost@evil", "evil:80@localhost", "[::1%lo]", "[127.0.0.1]", "[::1", "::1", "", ".",
     "a..b", "a:0", "a:65536", "a:", "a:-1", "\xb9\xb2\xb7.0.0.1", "a b", "a\tb"],
)  # fmt: skip
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(AddressError, match="not an address"):
        Address.parse(f"http://{host}")


def test_no_password_is_shown() -> None:
    with pytest.raises(AddressError) as raised:
        Address.parse("https://u:s3cret@registry.test/x")
    assert "s3cret" not in str(raised.value)
