"""Addresses: the URLs that registries, images, Dockerfiles and settings contain.

Specification: a strict part of RFC 3986: ``http`` or ``https``; a host of ASCII letters, digits,
``-`` and ``_``, or an IP address in its usual form; a port from 1 to 65535; no user; no control
characters.  Other programs read other URLs differently.  Where two readers differ, a password could
go to another host than the one that was checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from sundog.errors import AddressError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_LOCAL = "localhost"
_LENGTH = 16 << 10
_HOST_LENGTH = 253
_SHOWN = 200
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"""(?P<scheme>https?)://
    (?P<authority>
      (?: \[(?P<bracketed>[0-9a-f]*:[0-9a-f:.]*)\]
        | (?P<name>[0-9a-z_-]{1,63}(?:\.[0-9a-z_-]{1,63})*) )
      (?: :(?P<port>[0-9]{1,5}) )?
    )
    (?P<target>(?:[/?][^\#]*)?) (?:\#.*)?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
_ASCII = "".join(map(chr, range(128)))
# inet_aton(3) and its users take 127.1, 0x7f.1 and 2130706433 for addresses.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """The destination of a request.

    ``host`` is in lower case, without brackets; ``authority`` is host and port as they were
    written; ``target`` is path and query, as they were written.
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read a URL; raise AddressError.  A fragment is dropped."""
        match = _URL.fullmatch(text) if len(text) <= _LENGTH and text.isprintable() else None
        if match is None:
            raise AddressError(_shown(text))
        scheme = match["scheme"].lower()
        host = (match["bracketed"] or match["name"]).lower()
        port = int(match["port"] or _PORTS[scheme])
        numeric = match["bracketed"] or _NUMBER.fullmatch(host.rpartition(".")[2])
        if (
            not 0 < port < 1 << 16
            or len(host) > _HOST_LENGTH
            or (numeric and _ip_address(host) is None)
        ):
            raise AddressError(match["authority"][:_SHOWN])
        return cls(scheme, host, port, match["authority"], match["target"])

    def follow(self, location: str) -> Address:
        """Return the address that a header field ``Location`` means in an answer from this address.

        Raises AddressError.
        """
        try:
            # Bytes that are not ASCII go back to the server unchanged.
            url = urljoin(str(self), quote(location, _ASCII, "latin-1"))
        except ValueError as error:  # urljoin cannot read it
            raise AddressError(_shown(location)) from error
        return Address.parse(url)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: equal if two addresses belong to one server (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def is_number(self) -> bool:
        """Tell whether the host is an IP address, not a name."""
        return _ip_address(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        """Tell whether the host is this machine: a loopback IP address, or ``localhost``."""
        if self.host == _LOCAL:
            return True
        number = _ip_address(self.host)
        if number is None:
            return False
        return (getattr(number, "ipv4_mapped", None) or number).is_loopback


def host_of(url: str) -> str:
    """Return the host and port of ``url`` as they were written; raise AddressError."""
    return Address.parse(url).authority


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    if ":" not in host and not host[-1:].isdigit():
        return None
    from ipaddress import ip_address  # few hosts are numbers

    try:
        return ip_address(host)
    except ValueError:
        return None


def _shown(text: str) -> str:
    """Return a malformed address for a message, without what may be a password."""
    return ascii(re.sub(r"//[^/?#]*@", "//", text[:_SHOWN]))[1:-1]
