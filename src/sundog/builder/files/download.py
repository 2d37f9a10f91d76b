"""ADD of a URL: fetched, checked, and put into the image as a file or unpacked.

Specification: the Dockerfile reference, “Adding files from a URL”, “ADD --checksum”.  What a file
contains decides whether a result of the build cache is good, never its time.  Of each URL the
validators of RFC 9110 (ETag, Last-Modified) are remembered with the digest: if the server says that
nothing has changed, nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import unquote

from sundog.builder.files.archive import is_archive, put_unpacked
from sundog.builder.files.copy import put_file
from sundog.builder.files.remote_access import refused_hint
from sundog.builder.tree_step import without_user
from sundog.errors import AddressError, BuildError, RegistryError, UnreachableError
from sundog.registry.address import Address
from sundog.registry.http import Request
from sundog.registry.retries import RetryingTransport
from sundog.registry.transport import NetworkTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.builder.files.copy import Site
    from sundog.builder.files.remote_access import RemoteAccess
    from sundog.builder.keys import Field
    from sundog.builder.report import Report
    from sundog.registry.http import Response
    from sundog.store.store import Store

_ATTEMPTS = 3
_CHUNK = 1 << 20
_MODE = 0o600
_UNNAMED = "__unnamed__"
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_CHECKSUM = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Note:
    """What is remembered of a URL."""

    etag: str = ""
    last_modified: str = ""
    digest: str = ""


@dataclass
class RemoteFile:
    """The file at ``url``; ``checksum`` is "" or what its digest has to be.

    ``access`` has what the server may want.
    """

    url: str
    checksum: str
    unpack: bool
    access: RemoteAccess
    store: Store
    report: Report
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
        """The URL for messages, without a password."""
        return without_user(self.url)

    @property
    def name(self) -> str:
        """The name of the file, from the URL's path; "" if there is none."""
        name = posixpath.basename(unquote(self._address.target.partition("?")[0]))
        return "" if name in (".", "..") or "\0" in name else name

    def fingerprint(self) -> Field:
        """Return name and digest of the file, which is fetched unless that is known."""
        if not self._digest:
            self._digest = self.checksum or self._fetch(self._noted())
        return ("url", self.name, self._digest, self.unpack)

    def prepare(self) -> None:
        """Fetch the file, unless that has been done."""
        if self._path:
            return
        digest = self._fetch(_Note())
        if self._digest and digest != self._digest:
            raise BuildError(f"{self.shown} has changed during the build", "build again")

    def place(self, site: Site) -> None:
        """Copy the file, or unpack it."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self.unpack and is_archive(fd):
                put_unpacked(site, fd, self.shown)
                return
        finally:
            os.close(fd)
        if site.directory and not self.name:
            raise BuildError(
                f"no file name in the URL: {self.shown}", "name the file in the destination"
            )
        put_file(site, self._path)

    def _fetch(self, note: _Note) -> str:
        """Fetch the file and return its digest; not if it is as it was when ``note`` was made."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._fetch_once(note)
            except UnreachableError as error:
                if error.permanent or attempt == _ATTEMPTS:
                    raise BuildError(f"can't fetch {self.shown}: {error.message}") from error
            except RegistryError as error:
                raise BuildError(f"can't fetch {self.shown}: {error.message}") from error
        raise AssertionError("unreachable")

    def _fetch_once(self, note: _Note) -> str:
        url = str(self._address)
        authorization = self.access.authorization(url) or _basic(self.url)
        headers = {"Authorization": authorization} if authorization else {}
        if note.digest and note.etag:
            headers["If-None-Match"] = note.etag
        if note.digest and note.last_modified:
            headers["If-Modified-Since"] = note.last_modified
        self.report.verbose(f"fetching {self.shown}")
        transport = NetworkTransport()
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
        """Write an answer's body into a file, and check it."""
        state = hashlib.sha256()
        with self.store.faults:
            path = os.path.join(self.store.scratch.new(), os.fsencode(self.name or _UNNAMED))
            with open(path, "wb") as file:
                while data := response.read(_CHUNK):
                    state.update(data)
                    file.write(data)
                os.fchmod(file.fileno(), _MODE)
        digest = f"sha256:{state.hexdigest()}"
        if self.checksum and digest != self.checksum:
            raise BuildError(
                f"checksum of {self.shown} is {digest}, not {self.checksum}",
                "the file is another than the Dockerfile's author had",
            )
        modified = response.headers.get("Last-Modified", "")
        seconds = _seconds(modified)
        os.utime(path, (seconds, seconds))
        self._path = path
        etag = response.headers.get("ETag", "")
        self._note(_Note(_validator(etag), _validator(modified), digest))
        return digest

    def _noted(self) -> _Note:
        with suppress(OSError, ValueError, TypeError), open(self._note_path(), "rb") as file:
            return _Note(**json.load(file))
        return _Note()

    def _note(self, note: _Note) -> None:
        with self.store.faults:
            making = self.store.scratch.name()
            with open(making, "w", encoding="utf-8") as file:
                json.dump({name: getattr(note, name) for name in note.__slots__}, file)
            os.makedirs(self.store.at(b"downloads"), mode=0o700, exist_ok=True)
            os.rename(making, self._note_path())

    def _note_path(self) -> bytes:
        name = hashlib.sha256(os.fsencode(self.url)).hexdigest()
        return self.store.at(b"downloads", name.encode())


def _basic(url: str) -> str:
    """Return what Basic authentication sends for the name and password of a URL, "" for none."""
    authority = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    encoded = base64.b64encode(unquote(user).encode(errors="surrogateescape")).decode()
    return f"Basic {encoded}" if at else ""


def _validator(text: str) -> str:
    """Return a header field if it can be sent back, else ""."""
    return text if text.isprintable() else ""


def _seconds(date: str) -> int:
    """Return an HTTP date in seconds since 1970, 0 if it is none."""
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return max(0, int(parsedate_to_datetime(date).timestamp()))
    return 0


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""
