"""``sif/``: SIFs that came from registries and web servers.  Containers run from here.

    sif/HASH.sif        a complete file; HASH stands for the digest that a registry names, or for
                        an address and what tells its versions apart

Of many processes that want one file, one downloads it, and the others wait.  A file gets its name
when it is complete and on the device.

Specification: the artifacts of ORAS, as Apptainer pushes them: an OCI manifest with one layer of
the type ``application/vnd.sylabs.sif.layer.v1.sif``.  RFC 9110, "Validator Fields".
"""

from __future__ import annotations

import hashlib
import os
from contextlib import closing, suppress

from sundog.base.kernel.drafts import Replacing
from sundog.base.kernel.files import Closing, write_all
from sundog.base.record.magic import IMAGE_HEAD, image_kind
from sundog.errors import NotInRegistryError, ProtocolError, RegistryError
from sundog.image.oci.manifest import Manifest
from sundog.image.oci.verified import VerifiedReader
from sundog.image.registry.address import Address, host_of
from sundog.image.registry.http import Request
from sundog.image.registry.retries import RetryingTransport
from sundog.image.registry.transport import Urllib3Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.image.oci.verified import Readable
    from sundog.image.registry.http import Response, Transport
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

ORAS = "oras://"
SIF_DIRECTORY = b"sif"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
_OLD_LAYER = "appliciation/vnd.sylabs.sif.layer.tar"  # spelled like this in old artifacts
_CHUNK = 1 << 20
_SIZE_LIMIT = 1 << 40  # bytes of a file whose server does not tell its size
_HINT = "an image of a registry is docker://NAME"


def oras_file(store: Store, session: Session, text: str, report: Report) -> str:
    """Return the path of the SIF that ``text`` names in a registry; download it if need be.

    Raises RegistryError and what a pull raises.
    """
    found: RegistryError | None = None
    for remote in session.registries.remotes(text):
        client = session.client(remote.endpoints[-1])
        try:
            document = client.get_manifest(remote.reference.version, index=False)
        except NotInRegistryError as error:
            found = error
            continue
        layers = Manifest.from_json(document.content, document.media_type).layers
        sifs = [layer for layer in layers if layer.media_type in (SIF_LAYER, _OLD_LAYER)]
        if len(sifs) != 1 or len(layers) != 1:
            raise RegistryError(f"oras://{text} is no SIF", f"{_HINT}: docker://{text}")
        (layer,) = sifs

        def write(draft: int) -> None:
            with closing(client.open_blob(layer.digest)) as stream:  # noqa: B023 - called at once
                reader = VerifiedReader.of_blob(stream, layer)  # noqa: B023
                _receive(reader, draft, layer.size, f"oras://{text}", report)  # noqa: B023

        return _file(store, f"oras {layer.digest}", write, report)
    raise found or NotInRegistryError(f"not in a registry: {text}", _HINT)


def web_file(store: Store, environment: Mapping[str, str], url: str, report: Report) -> str:
    """Return the path of the SIF at an address; download it, unless this version is here.

    Raises RegistryError.
    """
    Address.parse(url)
    transport = RetryingTransport(Urllib3Transport(environment), tell=report.verbose)
    with closing(_answer(transport, url)) as response:
        validators = [response.headers.get(name, "") for name in ("ETag", "Last-Modified")]
        size = response.headers.get("Content-Length", "")
    key = " ".join([url, *validators, size])
    is_lasting = any(validators)

    def write(draft: int) -> None:
        with closing(_answer(transport, url)) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isascii() and length.isdigit() else None
            reader = VerifiedReader(response, size=total, what=url)
            _receive(reader, draft, total, url, report)

    return _file(store, key, write, report, is_lasting=is_lasting)


def _answer(transport: Transport, url: str) -> Response:
    response = transport.send(Request("GET", url))
    if response.status != 200:
        response.close()
        raise RegistryError(
            f"can't download {url}: {host_of(response.url)} answers {response.status}",
            "is the address right? No login is sent",
        )
    return response


def _file(
    store: Store,
    key: str,
    write: Callable[[int], None],
    report: Report,
    *,
    is_lasting: bool = True,
) -> str:
    """Return the path of the file that ``key`` stands for; ``write`` makes it.

    If it is not ``is_lasting``, it is made anew each time.
    """
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    directory = store.at(SIF_DIRECTORY)
    path = store.at(SIF_DIRECTORY, f"{name}.sif".encode())
    if is_lasting and os.path.exists(path):
        return os.fsdecode(path)
    with (
        store.turn(f"sif-{name[:32]}").held(
            lambda: report.verbose("waiting for another process that downloads this")
        ),
        store.faults,
    ):
        with suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        if not (is_lasting and os.path.exists(path)):
            draft = store.scratch.name()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with Replacing(path, draft), Closing(os.open(draft, flags, 0o755)) as file:
                write(file)
    return os.fsdecode(path)


def _receive(source: Readable, draft: int, total: int | None, what: str, report: Report) -> None:
    """Write all of ``source`` to ``draft``.  Raises ProtocolError for what is no image."""
    transfer = report.transfer(what, "downloading", total or 0)
    try:
        size = 0
        while data := source.read(_CHUNK):
            write_all(draft, data)
            size += len(data)
            transfer.advance(len(data))
            if size > (_SIZE_LIMIT if total is None else total):
                raise ProtocolError(f"{what}: more than {size} bytes")
    finally:
        transfer.end()
    if not image_kind(os.pread(draft, IMAGE_HEAD, 0)):
        raise ProtocolError(f"{what} is no SIF", "an image of a registry is docker://NAME")
