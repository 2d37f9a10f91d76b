"""ADD of a URL: fetch a file, check it, and copy or unpack it into the image.

Specification: the Dockerfile reference, “Adding files from a URL”, “ADD --checksum”.  The contents
of a file decide about the build cache, never its time.  For each URL, the store remembers the
validators of RFC 9110 (ETag, Last-Modified) with the digest.  If the server says that the file has
not changed, nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import unquote

from sundog.base.fields import Fields
from sundog.base.kernel.files import Closing
from sundog.errors import (
    AddressError,
    BuildError,
    DigestMismatch,
    DocumentError,
    RegistryError,
    UnreachableError,
)
from sundog.image.builder.files.archive import is_archive, put_unpacked
from sundog.image.builder.files.copy import put_file
from sundog.image.builder.files.remote_access import refused_hint
from sundog.image.builder.keys import FILES, Part
from sundog.image.builder.tree_step import without_user
from sundog.image.layer.limits import NO_LIMITS_HINT
from sundog.image.oci.digest import Digest
from sundog.image.oci.verified import VerifiedReader
from sundog.image.registry.address import Address
from sundog.image.registry.http import Request
from sundog.image.registry.retries import RetryingTransport
from sundog.image.registry.transport import Urllib3Transport
from sundog.image.transfer.backoff import Backoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.builder.files.copy import Site
    from sundog.image.builder.files.remote_access import RemoteAccess
    from sundog.image.builder.keys import Field
    from sundog.image.builder.report import Report
    from sundog.image.registry.http import Response
    from sundog.image.store.store import Store

_ATTEMPTS = 3
_CHUNK = 1 << 20
_SIZE_DIGITS = 18
_MODE = 0o600
_UNNAMED = "__unnamed__"
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_CHECKSUM = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Note:
    """The facts that the store remembers of a URL."""

    etag: str = ""
    last_modified: str = ""
    digest: str = ""


@dataclass
class RemoteFile:
    """The file at ``url``; ``checksum`` is "" or the digest that the file must have.

    ``access`` has the secrets for the server.  ``limit`` is the most bytes to fetch.
    """

    url: str
    checksum: str
    unpack: bool
    access: RemoteAccess
    store: Store
    report: Report
    limit: float = math.inf
    _path: bytes = field(default=b"", init=False)
    _digest: str = field(default="", init=False)
    _address: Address = field(init=False)

    def __post_init__(self) -> None:
        if self.checksum and not _CHECKSUM.fullmatch(self.checksum):
            raise BuildError(
                f"--checksum: not a digest: {self.checksum}",
                "sha256: and 64 hexadecimal digits, in lower case",
            )
        try:
            self._address = Address.parse(self.shown)
        except AddressError as error:
            raise BuildError(f"not a URL: {ascii(self.shown)[1:-1]}", error.hint) from error

    @property
    def shown(self) -> str:
        """The URL for messages, without its name and password."""
        return without_user(self.url)

    @property
    def name(self) -> str:
        """The file's name, from the URL's path; "" if the path has none."""
        name = posixpath.basename(unquote(self._address.target.partition("?")[0]))
        return "" if name in (".", "..") or "\0" in name else name

    def fingerprint(self) -> Field:
        """Return name and digest of the file; fetch it unless the digest is known."""
        if not self._digest:
            self._digest = self.checksum or self._fetch(self._noted())
        return ("url", self.name, Part(FILES, self.shown, self._digest), self.unpack)

    def prepare(self) -> None:
        """Fetch the file, unless it has been fetched."""
        if self._path:
            return
        digest = self._fetch(_Note())
        if self._digest and digest != self._digest:
            raise BuildError(f"{self.shown} has changed during the build", "build again")

    def fetched(self) -> bytes:
        """Fetch the file, unless it has been fetched; return its path."""
        self.prepare()
        return self._path

    def place(self, site: Site) -> None:
        """Copy the file, or unpack it."""
        with Closing(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            if self.unpack and is_archive(fd):
                put_unpacked(site, fd, self.shown)
                return
        if site.directory and not self.name:
            raise BuildError(
                f"no file name in the URL: {self.shown}", "name the file in the destination"
            )
        put_file(site, self._path)

    def _fetch(self, note: _Note) -> str:
        """Fetch the file, unless it has not changed since ``note``; return its digest."""
        backoff = Backoff(_ATTEMPTS)
        while True:
            try:
                return self._fetch_once(note)
            except RegistryError as error:
                may_pass = isinstance(error, UnreachableError) and not error.permanent
                if not may_pass or backoff.fail():
                    raise BuildError(f"can't fetch {self.shown}: {error.message}") from error
            backoff.wait()

    def _fetch_once(self, note: _Note) -> str:
        url = str(self._address)
        authorization = self.access.authorization(url) or _basic(self.url)
        headers = {"Authorization": authorization} if authorization else {}
        if note.digest and note.etag:
            headers["If-None-Match"] = note.etag
        if note.digest and note.last_modified:
            headers["If-Modified-Since"] = note.last_modified
        self.report.verbose(f"fetching {self.shown}")
        transport = Urllib3Transport()
        try:
            response = RetryingTransport(
                transport, attempts=_ATTEMPTS, tell=self.report.verbose
            ).send(Request("GET", url, headers))
            if response.status == HTTPStatus.NOT_MODIFIED and note.digest:
                response.close()
                return note.digest
            if response.status != HTTPStatus.OK:
                status = response.status
                response.close()
                raise BuildError(
                    f"can't fetch {self.shown}: {status} {_phrase(status)}".rstrip(),
                    refused_hint(url) if status in _REFUSALS else "",
                )
            return self._keep(response)
        finally:
            transport.close()

    def _keep(self, response: Response) -> str:
        """Write a response's body into a file, and check it."""
        size = response.headers.get("Content-Length", "")
        total = int(size) if size.isdecimal() and len(size) <= _SIZE_DIGITS else None
        transfer = self.report.quiet_transfer(self.shown, "downloading", total)
        reader = VerifiedReader(response, Digest.parse(self.checksum) if self.checksum else None)
        try:
            with self.store.faults:
                path = os.path.join(self.store.scratch.new(), os.fsencode(self.name or _UNNAMED))
                with open(path, "wb") as file:
                    while data := reader.read(_CHUNK):
                        file.write(data)
                        transfer.advance(len(data))
                        if file.tell() > self.limit:
                            raise BuildError(
                                f"{self.shown} has more than {self.limit:,} bytes", NO_LIMITS_HINT
                            )
                    os.fchmod(file.fileno(), _MODE)
        except DigestMismatch as error:
            raise BuildError(
                f"checksum of {self.shown} is {reader.digest}, not {self.checksum}",
                "the file is not the one that the Dockerfile's author had",
            ) from error
        finally:
            transfer.end()
        digest = str(reader.digest)
        modified = response.headers.get("Last-Modified", "")
        seconds = _seconds(modified)
        os.utime(path, (seconds, seconds))
        self._path = path
        etag = response.headers.get("ETag", "")
        self._note(_Note(_validator(etag), _validator(modified), digest))
        return digest

    def _noted(self) -> _Note:
        what = "download"
        with suppress(OSError, DocumentError), open(self._note_path(), "rb") as file:
            fields = Fields.parse(file.read(), what, DocumentError)
            return _Note(*map(fields.string, _Note.__slots__))
        return _Note()

    def _note(self, note: _Note) -> None:
        text = json.dumps({name: getattr(note, name) for name in note.__slots__})
        with self.store.faults:
            os.makedirs(self.store.at(b"downloads"), mode=0o700, exist_ok=True)
            self.store.write_file(self._note_path(), text.encode())

    def _note_path(self) -> bytes:
        name = hashlib.sha256(os.fsencode(self.url)).hexdigest()
        return self.store.at(b"downloads", name.encode())


def _basic(url: str) -> str:
    """Return the Basic authentication for the name and password of a URL; "" for none."""
    authority = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    encoded = base64.b64encode(unquote(user).encode(errors="surrogateescape")).decode()
    return f"Basic {encoded}" if at else ""


def _validator(text: str) -> str:
    """Return a header field that can be sent back; else ""."""
    return text if text.isprintable() else ""


def _seconds(date: str) -> int:
    """Return an HTTP date in seconds since 1970; 0 if it is not a date."""
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return max(0, int(parsedate_to_datetime(date).timestamp()))
    return 0


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""
