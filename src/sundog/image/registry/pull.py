"""Pull: from a reference to an image in the store.

Specification: OCI distribution-spec v1.1, "Pull", and image-spec v1.1.

A pull tries the mirrors in order, and the registry itself last.  It does not ask for what the store
has: if the tag has not moved, one request is all.  The image gets its name when all of it is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sundog.base.record.lazy_layer import is_incomplete, is_refused
from sundog.base.record.names import canonical_name
from sundog.errors import NotInStorage, RegistryError, StoreError
from sundog.image.oci.platform import Platform
from sundog.image.store.image_files import Image
from sundog.image.transfer.hindrance import hindrance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.image.oci.config import ImageConfig
    from sundog.image.oci.reference import Reference
    from sundog.image.registry.config import Remote
    from sundog.image.registry.download import Described
    from sundog.image.registry.options import PullOptions
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report


def pull(
    store: Store, session: Session, text: str, name: str, *, options: PullOptions, report: Report
) -> Image:
    """Pull the image that the reference ``text`` names into ``store``, under ``name``; return it.

    Raises RegistryError, ManifestError, ArchiveError and what the store raises; then an older image
    keeps the name.
    """
    canonical = canonical_name(name)
    store.hold()
    old = _stored(store, name, None if options.any_platform else options.wanted)
    remotes = session.registries.remotes(text)
    if old is not None and not options.fresh and options.last_layer is None:
        unchanged = _unchanged(store, session, remotes, old, options=options, report=report)
        if unchanged:
            if not options.lazy:
                _complete(store, session, old, report)
            report.info("image in storage is up to date")
            return old
    # An image that is up to date needs none of that, and its import takes a while.
    from sundog.image.registry.download import describe, download

    options = _possible(store, options, report)

    def look_up() -> Described:
        return describe(store, session, text, remotes, options=options, report=report)

    came = download(store, session, look_up, options=options, report=report)
    image = Image(canonical, name, came.config, came.layers, _origin(came.reference), came.blobs)
    store.images.put(image)
    return image


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image of a registry, known by its documents; ``fetch`` pulls it under its name."""

    config: ImageConfig
    fetch: Callable[[], Image]


def look_up(
    store: Store, session: Session, text: str, *, options: PullOptions, report: Report
) -> RemoteImage:
    """Return the image that ``text`` names; none of its layers is fetched.

    Raises what ``pull`` raises; so does ``fetch``.
    """
    from sundog.image.registry.download import describe, download

    canonical = canonical_name(text)
    remotes = session.registries.remotes(text)
    found = describe(store, session, text, remotes, options=options, report=report)

    def fetch() -> Image:
        came = download(store, session, lambda: found, options=options, report=report)
        image = Image(
            canonical, text, came.config, came.layers, _origin(came.reference), came.blobs
        )
        store.images.put(image)
        return image

    return RemoteImage(found.config, fetch)


def _stored(store: Store, name: str, platform: Platform | None) -> Image | None:
    try:
        return store.images.get(name, platform)
    except (NotInStorage, StoreError):  # a damaged image is replaced
        return None


def _complete(store: Store, session: Session, image: Image, report: Report) -> None:
    """Have all of ``image`` here."""
    if any(is_incomplete(store.layers.directory(layer)) for layer in image.layers):
        from sundog.image.registry.completion import complete_layers  # few pulls need it

        complete_layers(store, session, image.layers, report)


def _possible(store: Store, options: PullOptions, report: Report) -> PullOptions:
    """Return ``options``, without ``lazy`` where nothing could show such layers."""
    why = hindrance(store) if options.lazy else ""
    if why:
        report.warning(f"the image is pulled whole: {why}")
        options = replace(options, lazy=False)
    return options


def _origin(reference: Reference) -> str:
    return f"pull {reference}"


def _unchanged(
    store: Store,
    session: Session,
    remotes: Sequence[Remote],
    old: Image,
    *,
    options: PullOptions,
    report: Report,
) -> bool:
    """Tell whether a pull would bring just ``old``."""
    is_for = Platform.of(old.config.os, old.config.architecture, old.config.variant)
    if any(is_refused(store.layers.directory(layer)) for layer in old.layers):
        return False
    if not old.blobs or not (options.any_platform or is_for in options.wanted.runnable()):
        return False
    for remote in remotes:
        if old.origin != _origin(remote.reference):
            continue
        if remote.reference.digest is not None:
            return old.blobs[0] == str(remote.reference.digest)
        client = session.client(remote.endpoints[0])
        try:
            digest = client.head_manifest(remote.reference.version)
        except RegistryError as error:  # a full pull will explain it
            report.verbose(error.message)
            return False
        return str(digest) == old.blobs[0]
    return False
