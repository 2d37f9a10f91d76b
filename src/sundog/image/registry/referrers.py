"""Referrers: what else a registry has about an image, as manifests that name it as their subject.

Specification: OCI distribution-spec v1.1, "Listing Referrers", "Pushing Manifests with Subject" and
"Referrers Tag Schema".  A registry without that API has an index under a tag that is made of the
subject's digest; whoever pushes keeps it.  Anyone who may push to a repository can add referrers.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlencode

from sundog.errors import ContentMismatch, ManifestError, NotInRegistryError, ProtocolError
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.index import Index
from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT, Manifest
from sundog.image.oci.media_types import MANIFESTS, OCI_INDEX, OCI_MANIFEST
from sundog.image.registry.address import Address
from sundog.image.registry.http import read_all
from sundog.image.registry.push import put_document, send_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.registry.client import RegistryClient

_PAGES = 8  # of a list
_REFERRERS = 8  # of one type that are looked at
_ALGORITHM, _ENCODED = 32, 64  # characters of a digest in a tag
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_ATTEMPTS = 3  # to change an index that others change, too


def referrers(client: RegistryClient, subject: Digest, kind: str) -> list[Manifest]:
    """Return the first manifests of the artifact type ``kind`` that refer to ``subject``.

    One that is not there, or not what the list says, is left out.  Raises RegistryError,
    ManifestError and ContentMismatch.
    """
    listed = _listed(client, subject, kind)
    digests = [
        entry.digest
        for entry in (_index(client, subject).manifests if listed is None else listed)
        if entry.artifact_type == kind and entry.media_type in MANIFESTS
    ]
    found = []
    for digest in [*dict.fromkeys(digests)][:_REFERRERS]:
        try:
            document = client.get_manifest(str(digest), index=False)
            manifest = Manifest.from_json(document.content, document.media_type)
        except (NotInRegistryError, ManifestError, ContentMismatch):
            continue
        about = manifest.subject and manifest.subject.digest
        if manifest.artifact_type == kind and about == subject:
            found.append(manifest)
    return found


def attach(client: RegistryClient, manifest: Manifest) -> Digest:
    """Bring ``manifest``, which has a subject, to a repository that has all its blobs.

    Return its digest.  Raises RegistryError and ManifestError.
    """
    assert manifest.subject is not None
    content = manifest.to_bytes()
    described = Descriptor(OCI_MANIFEST, Digest.of(content), len(content))
    headers = send_document(client, str(described.digest), described, content)
    if headers.get("OCI-Subject", "") != str(manifest.subject.digest):
        entry = replace(
            described, annotations=manifest.annotations, artifact_type=manifest.artifact_type
        )
        _enter(client, manifest.subject.digest, entry)
    return described.digest


def _listed(client: RegistryClient, subject: Digest, kind: str) -> list[Descriptor] | None:
    """Return the registry's list; None if it has no such API."""
    path = f"{client.path('referrers', str(subject))}?{urlencode({'artifactType': kind})}"
    found: list[Descriptor] = []
    for _ in range(_PAGES):
        response = client.send(
            "GET", path, {"Accept": OCI_INDEX}, expected=(200, 404), what=f"referrers of {subject}"
        )
        if response.status == 404:
            response.close()
            return found or None
        content = read_all(response, MANIFEST_SIZE_LIMIT)
        found += Index.from_json(content, OCI_INDEX).manifests
        following = _NEXT.search(response.headers.get("Link", ""))
        if following is None:
            break
        path = Address.parse(response.url).follow(following[1]).target  # whatever host it names
    return found


def _tag(subject: Digest) -> str:
    return f"{subject.algorithm[:_ALGORITHM]}-{subject.encoded[:_ENCODED]}"


def _index(client: RegistryClient, subject: Digest) -> Index:
    """Return the index that stands for the list in a registry without the API."""
    try:
        document = client.get_manifest(_tag(subject))
    except NotInRegistryError:
        return Index(())
    return Index.from_json(document.content, document.media_type)


def _enter(client: RegistryClient, subject: Digest, entry: Descriptor) -> None:
    """Add ``entry`` to that index.

    Somebody else may do the same at the same time, and the later one wins; so look again.
    """
    for _ in range(_ATTEMPTS):
        index = _index(client, subject)
        if any(each.digest == entry.digest for each in index.manifests):
            return
        content = replace(index, manifests=(*index.manifests, entry)).to_bytes()
        if len(content) > MANIFEST_SIZE_LIMIT:
            raise ProtocolError(f"{client.endpoint}:{_tag(subject)}: too many referrers")
        described = Descriptor(index.media_type, Digest.of(content), len(content))
        put_document(client, _tag(subject), described, content)
    if all(each.digest != entry.digest for each in _index(client, subject).manifests):
        raise ProtocolError(
            f"{client.endpoint}:{_tag(subject)}: the registry, or others, drop the referrer",
            "try again later",
        )
