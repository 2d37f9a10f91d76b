"""Platforms and digests that a registry has under a reference."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.errors import NotInRegistryError, UnauthorizedError
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.index import Index
from sundog.image.oci.manifest import Manifest, document_media_type
from sundog.image.oci.media_types import INDEXES
from sundog.image.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.image.oci.digest import Digest
    from sundog.image.oci.reference import Reference
    from sundog.image.registry.client import Document, RegistryClient
    from sundog.image.registry.config import Remote
    from sundog.image.registry.session import Session
    from sundog.image.transfer.report import Report

_CONFIG_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Available:
    """The answer: ``digest`` is what the tag names now; ``is_index``: that is an index."""

    reference: Reference
    digest: Digest
    is_index: bool
    platforms: tuple[tuple[Platform, Digest], ...]


def available(session: Session, text: str, report: Report) -> tuple[Reference, Available | None]:
    """Return the reference that ``text`` means, and what a registry has under it.

    None in place of the latter: no registry has it, or lets the user see it.  Raises RegistryError.
    """
    remotes = session.registries.remotes(text)
    for reference, client, document in _documents(session, remotes, report.verbose):
        content, media_type = document.content, document.media_type
        if document_media_type(content, media_type) in INDEXES:
            index = Index.from_json(content, media_type)
            known = set(index.platforms)
            platforms = tuple(
                (entry.platform, entry.digest)
                for entry in index.manifests
                if entry.platform in known and entry.platform is not None
            )
        else:
            manifest = Manifest.from_json(content, media_type)
            config = ImageConfig.from_json(client.get_blob(manifest.config, _CONFIG_LIMIT))
            only = Platform.of(config.os, config.architecture, config.variant)
            platforms = ((only, document.digest),)
            index = None
        return reference, Available(reference, document.digest, index is not None, platforms)
    return remotes[0].reference, None


def raw_manifest(session: Session, text: str) -> bytes:
    """Return the manifest or the index that ``text`` names in a registry, byte for byte.

    Raises RegistryError, and ManifestError if it is neither.
    """
    remotes = session.registries.remotes(text)
    faults: list[str] = []
    for _, _, document in _documents(session, remotes, faults.append):
        document_media_type(document.content, document.media_type)
        return document.content
    raise NotInRegistryError(faults[0], "check the name; ch-image login if it is private")


def _documents(
    session: Session, remotes: Sequence[Remote], tell: Callable[[str], object]
) -> Iterator[tuple[Reference, RegistryClient, Document]]:
    """Yield what each registry has, in order; ``tell`` why one has nothing."""
    for remote in remotes:
        for endpoint in remote.endpoints:
            client = session.client(endpoint)
            try:
                document = client.get_manifest(remote.reference.version)
            except (NotInRegistryError, UnauthorizedError) as error:
                tell(error.message)
                continue
            yield remote.reference, client, document
