"""A registry's verbs, for one repository at a time.

Specification: OCI distribution-spec v1.1.  The client checks manifests against their digests, and
all answers against the specification.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass

from sundog.base.fields import Fields
from sundog.base.record.names import DEFAULT_REGISTRY
from sundog.errors import (
    DigestSyntaxError,
    NotInRegistryError,
    ProtocolError,
    RegistryError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from sundog.image.oci.verified import VerifiedReader
from sundog.image.registry.address import Address, host_of
from sundog.image.registry.auth import Authenticator, pull_scope
from sundog.image.registry.http import Request, read_all
from sundog.image.registry.retries import rate_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.registry.config import Endpoint
    from sundog.image.registry.credentials import Credentials
    from sundog.image.registry.http import Response, Transport

IMAGE_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)

_HUB_HOST = "registry-1.docker.io"
_MESSAGE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index; ``content`` is its bytes as they came, ``digest`` their digest."""

    content: bytes
    media_type: str
    digest: Digest


_NO_REGISTRY = "is that a registry? Does a proxy in between want a login?"


class BlobStream:
    """The bytes of a blob from ``offset`` on.  Close it after use."""

    def __init__(self, response: Response, offset: int) -> None:
        self._response = response
        self.offset = offset
        self.host = host_of(response.url)

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end; raise UnreachableError."""
        return self._response.read(size)

    def close(self) -> None:
        """Give the connection back."""
        self._response.close()


class RegistryClient:
    """One repository of one registry.  Several threads may use one object.

    ``scopes`` are the permissions to ask for, by default that to read the repository.  ``verify``:
    see ``http.Request``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        credentials: Callable[[], Credentials | None],
        *,
        verify: bool = True,
        scopes: Sequence[str] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.scopes = (pull_scope(endpoint.repository),) if scopes is None else tuple(scopes)
        self.rate_limit = ""
        self._host = _HUB_HOST if endpoint.host == DEFAULT_REGISTRY else endpoint.host
        self._transport = transport
        self._verify = verify and not endpoint.insecure
        self._authenticator = Authenticator(
            transport,
            credentials,
            registry=self._host,
            token_servers=endpoint.token_servers,
            verify=self._verify,
        )
        self._base: Address | None = None
        self._lock = threading.Lock()

    @property
    def is_anonymous(self) -> bool:
        """Tell whether the client has sent no credentials to the registry."""
        return self._authenticator.is_anonymous

    def get_manifest(self, name: str, *, index: bool = True) -> Document:
        """Return the manifest or, with ``index``, perhaps the index that a tag or digest names."""
        from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT

        accept = (*INDEX_TYPES, *IMAGE_TYPES) if index else IMAGE_TYPES
        what = self._name(name)
        response = self.send(
            "GET", self.path("manifests", name), {"Accept": ", ".join(accept)}, what=what
        )
        self.rate_limit = rate_limit(response.headers)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        announced = response.headers.get("Docker-Content-Digest", "")
        with closing(response):
            if _is_page(response):
                raise ProtocolError(
                    f"{what}: {host_of(response.url)} answers with a web page, not with a manifest",
                    _NO_REGISTRY,
                )
            digest = None
            if ":" in name:
                digest = Digest.parse(name)
            elif announced:
                digest = _digest(announced, what)
            reader = VerifiedReader(response, digest, what=what)
            content = read_all(response, MANIFEST_SIZE_LIMIT, reader=reader)
        return Document(content, media_type, reader.digest)

    def head_manifest(self, name: str) -> Digest | None:
        """Return the digest of what a tag names now; None if the registry does not tell it."""
        accept = (*INDEX_TYPES, *IMAGE_TYPES)
        what = self._name(name)
        response = self.send(
            "HEAD", self.path("manifests", name), {"Accept": ", ".join(accept)}, what=what
        )
        response.close()
        announced = response.headers.get("Docker-Content-Digest", "")
        return _digest(announced, what) if announced else None

    def open_blob(self, digest: Digest, offset: int = 0) -> BlobStream:
        """Return the bytes of a blob from ``offset`` on; from 0 if the registry can't do that."""
        what = f"blob {digest}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self.send(
            "GET", self.path("blobs", str(digest)), headers, expected=(200, 206, 416), what=what
        )
        if response.status == 200:
            return BlobStream(response, 0)
        host = host_of(response.url)
        content_range = response.headers.get("Content-Range", "")
        unit, _, rest = content_range.partition(" ")
        start = rest.partition("-")[0]
        if response.status == 416:
            response.close()
            raise ProtocolError(f"{what}: {host} has no more than {offset} bytes of it")
        if not offset or unit != "bytes" or start != str(offset):
            response.close()
            raise ProtocolError(f"{what}: {host} sends {content_range!r}, not from {offset} on")
        return BlobStream(response, offset)

    def open_url(self, url: str, offset: int = 0) -> BlobStream:
        """Return the bytes at another host's URL, from ``offset`` or 0 on; send no credentials."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._transport.send(Request("GET", url, headers, verify=self._verify))
        if response.status not in (200, 206):
            raise self._refusal(response, url)
        return BlobStream(response, offset if response.status == 206 else 0)

    def get_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Return all bytes of a small blob, checked.

        Raises ProtocolError when it has more than ``limit`` bytes, ContentMismatch when it is not
        what ``descriptor`` says.
        """
        what = f"blob {descriptor.digest}"
        if descriptor.size > limit:
            raise ProtocolError(f"{what}: {descriptor.size} bytes, more than {limit} are refused")
        response = self.send("GET", self.path("blobs", str(descriptor.digest)), what=what)
        return read_all(response, limit, reader=VerifiedReader.of_blob(response, descriptor))

    def has_blob(self, digest: Digest) -> bool:
        """Tell whether the repository has a blob."""
        response = self.send(
            "HEAD", self.path("blobs", str(digest)), expected=(200, 404), what=str(digest)
        )
        response.close()
        return response.status == 200

    def path(self, kind: str, name: str) -> str:
        """Return the path of something in this repository."""
        return f"/v2/{self.endpoint.repository}/{kind}/{name}"

    def check(self) -> None:
        """Send an empty request, to find out whether the registry accepts the credentials.

        Raises UnauthorizedError if it does not, ProtocolError if the server is not a registry.
        """
        try:
            response = self.send("GET", "/v2/", what=self._host)
        except NotInRegistryError as error:
            raise _no_registry(self._host, "HTTP 404") from error
        response.close()
        if _is_page(response):
            raise _no_registry(self._host, "a web page")

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | BinaryIO | None = None,
        *,
        expected: Sequence[int] = (200,),
        what: str,
    ) -> Response:
        """Send a request to the registry and return an answer with an ``expected`` status.

        ``path`` may be a URL that the registry gave.  A ``body`` that is a file has to be seekable.
        Raises UnauthorizedError, NotInRegistryError or another RegistryError about ``what``.
        """
        start = body.tell() if body is not None and not isinstance(body, bytes) else 0
        repeated = False
        while True:
            authorization = self._authenticator.headers(self.scopes)
            if repeated and body is not None and not isinstance(body, bytes):
                body.seek(start)
            response = self._answer(method, path, {**(headers or {}), **authorization}, body)
            if response.status in expected:
                return response
            if response.status != 401 or not self._is_ours(Address.parse(response.url)):
                break
            if repeated:
                self._authenticator.give_up(host_of(response.url))
                break
            repeated = True
            response.close()
            try:
                if not self._authenticator.satisfy(response, authorization, self.scopes):
                    break
            except UnauthorizedError as error:
                if self.is_anonymous:
                    raise _unknown(what, error.hint or error.message) from error
                raise
        raise self._refusal(response, what)

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | BinaryIO | None
    ) -> Response:
        """Return the registry's answer of any status; find out first whether it speaks TLS."""
        with self._lock:
            if self._base is None:
                return self._first_answer(method, path, headers, body)
        url = self._base.follow(path)
        if not self._is_ours(url):  # an upload may go elsewhere; the credentials may not
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
            if (self._base.scheme, url.scheme) == ("https", "http") and self._verify:
                raise ProtocolError(
                    f"{self._host}: an upload leads to an address without TLS: "
                    f"http://{url.authority}"
                )
        return self._transport.send(Request(method, str(url), headers, body, self._verify))

    def _is_ours(self, address: Address) -> bool:
        """Tell whether an address is at the registry itself."""
        return self._base is not None and address.origin == self._base.origin

    def _first_answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | BinaryIO | None
    ) -> Response:
        schemes = ["https"]
        if Address.parse(f"https://{self._host}").is_loopback:
            schemes.insert(0, "http")  # a server without TLS may not answer a TLS greeting
        elif self.endpoint.insecure:
            schemes.append("http")
        errors: dict[str, UnreachableError] = {}
        doubtful: Response | None = None
        for scheme in schemes:
            base = Address.parse(f"{scheme}://{self._host}")
            request = Request(method, f"{base}{path}", headers, body, self._verify)
            try:
                response = self._transport.send(request)
            except UnreachableError as error:
                errors[scheme] = error
                continue
            if response.status == 400 and scheme == "http" and scheme != schemes[-1]:
                doubtful = response  # a server that expects TLS answers HTTP like this
                continue
            if doubtful is not None:
                doubtful.close()
            self._base = base
            return response
        tls = errors.get("https")
        # If the server does not speak TLS, the error about HTTP says more.
        if tls is not None and tls.permanent and not tls.plaintext:
            if doubtful is not None:
                doubtful.close()
            raise tls
        if doubtful is not None:
            self._base = Address.parse(f"http://{self._host}")
            return doubtful
        raise errors.get("http") or errors["https"]

    def _name(self, name: str) -> str:
        return f"{self.endpoint}{'@' if ':' in name else ':'}{name}"

    def _refusal(self, response: Response, what: str) -> RegistryError:
        """Return the error that an unexpected answer means."""
        status = response.status
        host = host_of(response.url)
        said = _said(response)
        details = f": {said}" if said else ""
        login = f"ch-image login {self.endpoint.host}; or --auth"
        if status == 401:
            return _unknown(what, f"if the registry needs authentication: {login}")
        if status == 403:
            return UnauthorizedError(f"not allowed by {host}: {what}{details}", login)
        if status == 404:
            if self.is_anonymous:
                hint = f"check the name; if the registry needs authentication: {login}"
                return NotInRegistryError(f"not in registry: {what}", hint)
            return NotInRegistryError(f"not in registry: {what}", "check the name")
        if status >= 500:
            return ServerError(f"{what}: {host} fails with HTTP {status}{details}", "try later")
        return RegistryError(
            f"{what}: {host} answers with HTTP {status}{details}", "" if said else _NO_REGISTRY
        )


def _is_page(response: Response) -> bool:
    return response.headers.get("Content-Type", "").strip().lower().startswith("text/html")


def _no_registry(host: str, answer: str) -> ProtocolError:
    return ProtocolError(f"{host} answers with {answer}, not as a registry", _NO_REGISTRY)


def _unknown(what: str, hint: str) -> UnauthorizedError:
    # Registries do not tell strangers which names exist.
    return UnauthorizedError(f"unauthorized or not in registry: {what}", hint)


def _digest(text: str, what: str) -> Digest:
    try:
        return Digest.parse(text)
    except DigestSyntaxError as error:
        raise ProtocolError(f"{what}: Docker-Content-Digest: {error.message}") from error


def _said(response: Response) -> str:
    """Return what the registry says about an error (distribution-spec, "Error Codes")."""
    try:
        body = read_all(response, 1 << 16)
        answer = Fields.parse(body, "answer", ProtocolError)
        words = [
            error.string("message") or error.string("code") for error in answer.objects("errors")
        ]
    except RegistryError:
        return ""
    return "; ".join(word for word in words if word)[:_MESSAGE_LIMIT]
