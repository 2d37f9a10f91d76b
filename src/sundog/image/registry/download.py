"""A new image from a registry: its manifest is found, its documents and layers are fetched.

Specification: OCI distribution-spec v1.1, "Pull", and image-spec v1.1.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from sundog.base.record.lazy_layer import is_incomplete
from sundog.errors import (
    ContentMismatch,
    DocumentError,
    ImageConfigError,
    ManifestError,
    PlatformUnavailable,
    RegistryError,
    SundogError,
)
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.digest import Digest
from sundog.image.oci.index import Index
from sundog.image.oci.manifest import Manifest, document_media_type
from sundog.image.oci.media_types import CONFIGS, FOREIGN_LAYERS, INDEXES, LAYERS
from sundog.image.oci.platform import Platform
from sundog.image.registry.client import Document
from sundog.image.transfer.layers import RemoteLayer, Unpackers, pull_layers
from sundog.image.transfer.present import blob_keys, present_layers
from sundog.image.transfer.shared_layers import bring_shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.reference import Reference
    from sundog.image.registry.client import RegistryClient
    from sundog.image.registry.config import Remote
    from sundog.image.registry.options import PullOptions
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.fetch import Source
    from sundog.image.transfer.report import Report

_CONFIG_LIMIT = 16 << 20
_LAYERS = 1000  # twice as many as any file system stacks
_NESTING = 4  # of indexes in indexes
# After one of these, the pull tries the next mirror, or the next registry for a short name.
_ELSEWHERE = (RegistryError, ContentMismatch)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """An image's parts that the store has: its configuration, layers and documents.

    ``blobs`` are the digests of indexes, manifest and configuration, in this order; () if the
    image is incomplete.
    """

    reference: Reference
    config: ImageConfig
    layers: tuple[str, ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """A manifest, the documents that led to it, and the clients to ask for its blobs."""

    reference: Reference
    clients: Sequence[RegistryClient]
    documents: Sequence[Document]

    @property
    def manifest(self) -> Document:
        return self.documents[-1]


@dataclass(frozen=True)
class Described:
    """An image that a registry has, known by its documents."""

    found: _Found
    parsed: Manifest
    config_bytes: bytes
    config: ImageConfig


def describe(
    store: Store,
    session: Session,
    text: str,
    remotes: Sequence[Remote],
    *,
    options: PullOptions,
    report: Report,
) -> Described:
    """Return what the reference ``text`` names at the first of ``remotes`` that has it.

    Raises RegistryError, ManifestError and what the store raises.
    """
    with _about(text):
        found = _find(store, session, remotes, options, report)
        manifest = Manifest.from_json(found.manifest.content, found.manifest.media_type)
        _check_types(manifest)
        config_bytes = _config(store, found, manifest.config, options, report)
        config = ImageConfig.from_json(config_bytes)
        if len(config.diff_ids) != len(manifest.layers):
            raise ManifestError(
                f"the manifest has {len(manifest.layers)} layers, "
                f"the configuration names {len(config.diff_ids)}"
            )
        _check_platform(config, options, report)
    return Described(found, manifest, config_bytes, config)


def download(
    store: Store,
    session: Session,
    look_up: Callable[[], Described],
    *,
    options: PullOptions,
    report: Report,
) -> Downloaded:
    """Have in ``store`` the image that ``look_up`` describes.

    Raises what ``look_up`` raises, RegistryError, ArchiveError and what the store raises.
    """
    with Unpackers() as unpackers, closing(session.shared) as shared:
        if not options.lazy:
            unpackers.prepare()  # meanwhile this process imports the HTTP client
        described = look_up()
        found, manifest, config = described.found, described.parsed, described.config
        count = len(manifest.layers) if options.last_layer is None else options.last_layer
        diff_ids = config.diff_ids[:count]
        layers = [
            RemoteLayer(
                descriptor,
                str(Digest.parse(diff_id)),
                sources(found.clients, descriptor),
                str(found.clients[-1].endpoint),
            )
            for descriptor, diff_id in zip(manifest.layers, diff_ids, strict=False)
        ]
        bring_shared(store, layers, shared, report, any_below=options.lazy)
        if options.lazy:
            from sundog.image.registry.lazy_pull import LazyPull  # few pulls need it

            lazily = LazyPull(
                *(store, str(found.reference), found.manifest.digest, manifest, found.clients),
                *(session.verify, report, shared),
            )
            identities = lazily.run(layers)
        else:
            _complete_known(store, session, layers, report)
            identities = pull_layers(store, layers, unpackers, report)
    for document in found.documents:
        store.blobs.put(document.content, document.digest)
    store.blobs.put(described.config_bytes, manifest.config.digest)
    if len(diff_ids) < len(config.diff_ids):
        config = config.replace(diff_ids=diff_ids)
    blobs = [str(document.digest) for document in found.documents]
    return Downloaded(
        found.reference,
        config,
        tuple(identities),
        (*blobs, str(manifest.config.digest)) if options.last_layer is None else (),
    )


def _complete_known(
    store: Store, session: Session, layers: Sequence[RemoteLayer], report: Report
) -> None:
    """Complete those of ``layers`` that the store has, but not all of them."""
    diff_ids = [layer.diff_id for layer in layers]
    keys = [blob_keys(store, layer.descriptor) for layer in layers]
    found = present_layers(store, diff_ids, keys, takes_incomplete=True)
    if any(is_incomplete(store.layers.directory(layer)) for layer in found if layer):
        from sundog.image.registry.completion import complete_layers  # few pulls need it

        complete_layers(store, session, [layer for layer in found if layer], report)


@contextmanager
def _about(text: str) -> Iterator[None]:
    """Prefix document errors with the reference; a document does not know its own name."""
    try:
        yield
    except DocumentError as error:
        error.message = f"{text}: {error.message}"
        error.hint = (
            error.hint or "is that a registry? If it is, the image there is damaged: push it again"
        )
        raise


def _find(
    store: Store,
    session: Session,
    remotes: Sequence[Remote],
    options: PullOptions,
    report: Report,
) -> _Found:
    """Return the manifest from the first place that has it."""
    problems: list[SundogError] = []
    for remote in remotes:
        clients = [session.client(endpoint) for endpoint in remote.endpoints]
        for number, client in enumerate(clients):
            try:
                documents = _documents(store, client, remote.reference, options, report)
            except _ELSEWHERE as error:
                problems.append(error)
                report.verbose(f"{client.endpoint}: {error.message}")
            else:
                if client.rate_limit:
                    report.info(f"rate limit of {client.endpoint.host}: {client.rate_limit}")
                return _Found(remote.reference, clients[number:], documents)
    for problem in problems[:-1]:
        report.warning(problem.message)
    raise problems[-1]


def _documents(
    store: Store,
    client: RegistryClient,
    reference: Reference,
    options: PullOptions,
    report: Report,
) -> list[Document]:
    """Return what the tag or digest names: perhaps indexes, and at last a manifest."""
    wanted = None if options.any_platform else options.wanted
    documents = []
    name = reference.version
    media_type = ""
    what = "manifest"
    for _ in range(_NESTING):
        known = store.blobs.read(Digest.parse(name)) if ":" in name and not options.fresh else None
        if known is not None:
            report.info(f"{what}: using existing file")
            document = Document(known, media_type, Digest.parse(name))
        else:
            report.info(f"{what}: downloading")
            document = client.get_manifest(name, index=wanted is not None)
        documents.append(document)
        if document_media_type(document.content, document.media_type) not in INDEXES:
            return documents
        index = Index.from_json(document.content, document.media_type)
        entry = _entry(index, wanted, options)
        name, media_type = str(entry.digest), entry.media_type
        what = f"manifest for {entry.platform}" if entry.platform else "manifest"
    raise ManifestError(f"indexes in indexes, more than {_NESTING} deep: {reference}")


def _entry(index: Index, wanted: Platform | None, options: PullOptions) -> Descriptor:
    if wanted is None:  # the registry was asked for a manifest, and sent an index
        if not index.manifests:
            raise ManifestError("the index is empty")
        return index.manifests[0]
    try:
        return index.select(wanted)
    except PlatformUnavailable as error:
        if options.platform is None and not index.platforms:
            error.hint = "--arch=yolo takes the first entry"
        raise


def _check_types(manifest: Manifest) -> None:
    """Raise ManifestError for a thing in a registry that is not an image of a file system."""
    if manifest.config.media_type not in CONFIGS:
        raise ManifestError(
            f"not an image: its configuration has type {manifest.config.media_type}",
            "registries hold other things than images, too",
        )
    if len(manifest.layers) > _LAYERS:
        raise ManifestError(
            f"the manifest has {len(manifest.layers)} layers: more than {_LAYERS} are refused"
        )
    for number, layer in enumerate(manifest.layers, 1):
        if layer.media_type not in LAYERS:
            raise ManifestError(f"layer {number}: type {layer.media_type} is not supported")


def _config(
    store: Store, found: _Found, descriptor: Descriptor, options: PullOptions, report: Report
) -> bytes:
    known = None if options.fresh else store.blobs.read(descriptor.digest)
    if known is not None:
        report.info("config: using existing file")
        return known
    report.info("config: downloading")
    for client in found.clients[:-1]:
        try:
            return client.get_blob(descriptor, _CONFIG_LIMIT)
        except _ELSEWHERE as error:
            report.verbose(error.message)
    return found.clients[-1].get_blob(descriptor, _CONFIG_LIMIT)


def _check_platform(config: ImageConfig, options: PullOptions, report: Report) -> None:
    """Compare the image's platform with the platform that was asked for."""
    if not config.architecture:
        raise ImageConfigError("image configuration: architecture: missing")
    there = Platform.of(config.os, config.architecture, config.variant)
    if config.os != "linux":
        raise PlatformUnavailable(f"the image is for {there}; only images for Linux can be used")
    wanted = options.wanted
    if not options.any_platform and there not in wanted.runnable():
        if options.platform is not None:
            raise PlatformUnavailable(
                f"requested arch unavailable: {wanted}", f"available: {there}"
            )
        report.warning(f"image is for {there}, this machine is {wanted}")
    host = Platform.of_host()
    note = "" if there in host.runnable() else f" (may not match host {host})"
    report.info(f"image arch: {there}{note}")


def sources(clients: Sequence[RegistryClient], descriptor: Descriptor) -> list[Source]:
    """Return the sources of a blob: the registries, and for a foreign layer its URLs."""
    sources: list[Source] = [partial(client.open_blob, descriptor.digest) for client in clients]
    if descriptor.media_type in FOREIGN_LAYERS:
        sources += [partial(clients[-1].open_url, url) for url in descriptor.urls]
    return sources
