"""What can go wrong with a registry, as errors for the user.

    RegistryError           something about a registry
    ├── UnreachableError    no answer: name, network, TLS, or cut in the middle
    │   └── AddressError    a URL, or a host, that can't be asked at all
    ├── UnauthorizedError   the registry wants other credentials, or any
    ├── NotInRegistryError  the registry does not have it, or does not say so
    ├── RateLimitError      the registry wants fewer requests
    ├── ServerError         the registry fails, perhaps for the moment
    └── ProtocolError       the answer is not what the specification says

Must not import anything of ``sundog`` but ``errors``.
"""

from __future__ import annotations

from sundog.errors import SundogError


class RegistryError(SundogError):
    """A registry refused something, or cannot be used."""


class UnreachableError(RegistryError):
    """No answer came from a registry.

    ``permanent`` if trying again cannot help; ``unconnected`` if it hardly will; ``plaintext`` if
    what is there does not seem to speak TLS.
    """

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "permanent", "unconnected", "plaintext")

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        permanent: bool = False,
        unconnected: bool = False,
        plaintext: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.permanent = permanent
        self.unconnected = unconnected
        self.plaintext = plaintext


class AddressError(UnreachableError):
    """``shown`` is no address of a server that is asked by HTTP."""

    def __init__(self, shown: str) -> None:
        super().__init__(
            f"{shown}: not an address",
            "http:// or https://, HOST[:PORT], the port at most 65535",
            permanent=True,
        )


class UnauthorizedError(RegistryError):
    """The registry does not let this user do that."""


class NotInRegistryError(RegistryError):
    """The registry does not have it."""


class RateLimitError(RegistryError):
    """The registry has answered often enough for now."""


class ServerError(RegistryError):
    """The registry has failed, perhaps only for the moment."""


class ProtocolError(RegistryError):
    """A registry's answer makes no sense."""
