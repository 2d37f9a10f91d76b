"""Images in storage: list, pull, push, tag, remove, load, save, import, inspect.

Each function opens the storage directory, and closes it before it returns.  ``storage`` is the path
of that directory; None stands for ``$CH_IMAGE_STORAGE``, else ``/var/tmp/$USER.sundog``.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace

from sundog.base.record.names import canonical_name
from sundog.errors import NotInStorage, UsageError
from sundog.front.api import LOADING
from sundog.front.api.apart import apart
from sundog.image.oci.platform import Platform
from sundog.image.store.description import describe
from sundog.image.store.description import history as history_of
from sundog.image.store.images import is_glob
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike
    from typing import Any, TypeVar

    from sundog.front.api.progress import Progress, ProgressReport
    from sundog.image.registry.session import Session
    from sundog.image.store.image_files import Image as StoredImage

    Path = str | PathLike[str]
    T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Image:
    """An image in storage.

    name         as the user typed it
    reference    the canonical name: REGISTRY/PATH:TAG
    id           the same for each name of an image; of this storage directory only
    created      RFC 3339, or ""
    size         bytes in all files of its layers
    origin       in words: how it came into storage
    environment  its variables; ``entrypoint``, ``command``, ``user``, ``workdir`` and ``labels``
                 are the Dockerfile's ENTRYPOINT, CMD, USER, WORKDIR and LABEL
    """

    name: str
    reference: str
    id: str
    created: str
    size: int
    origin: str
    layers: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


def images(*, storage: Path | None = None) -> list[Image]:
    """Return all images in storage, sorted by name."""

    def work(store: Store, _: ProgressReport) -> list[dict[str, Any]]:
        return [asdict(described(store, image)) for image in store.images.list()]

    return [Image(**fields) for fields in _on_store(work, storage)]


def inspect(name: str, *, storage: Path | None = None) -> dict[str, Any]:
    """Return all that is known of an image, as ``ch-image inspect``.  Raises NotInStorage."""
    return _on_store(lambda store, _: describe(store, store.images.get(name)), storage)


def history(name: str, *, storage: Path | None = None) -> list[dict[str, Any]]:
    """Return how an image came about, the oldest entry first: ``ch-image history --format json``.

    Raises NotInStorage.
    """
    return _on_store(lambda store, _: history_of(store, store.images.get(name)), storage)


def pull(
    reference: str,
    name: str | None = None,
    *,
    platform: str | None = None,
    tls_verify: bool = True,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> Image:
    """Fetch an image from a registry, and return it; an image that is up to date stays.

    ``name`` is its name in storage, by default ``reference``.  ``platform`` is such as
    ``linux/arm64``; None stands for this machine's.  Raises RegistryError and its kinds.
    """
    with LOADING:
        from sundog.image.registry.options import PullOptions
        from sundog.image.registry.pull import pull as pull_image

    target = reference if name is None else name
    canonical_name(target)
    options = PullOptions(None if platform is None else parsed_platform(platform))

    def work(store: Store, report: ProgressReport) -> dict[str, Any]:
        session = open_session(report, tls_verify=tls_verify)
        image = pull_image(store, session, reference, target, options=options, report=report)
        return asdict(described(store, image))

    return Image(**_on_store(work, storage, progress))


def push(
    name: str,
    destination: str | None = None,
    *,
    compression: str = "gzip",
    first: Path | None = None,
    tls_verify: bool = True,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """Copy an image to a registry; return the digest of its manifest there.

    A name that has images for several platforms gets an index of them there.  ``destination`` is
    HOST/PATH[:TAG], by default ``name``.  ``first``, with the compression "estargz", is as --first
    of ``ch-image push``: the path of a file that lists what comes first in layers, or "kept".
    Raises RegistryError and its kinds, NotInStorage, UsageError.
    """
    with LOADING:
        from sundog.image.registry.push import destination as remote_of
        from sundog.image.registry.push import push_images, put_first
        from sundog.image.transfer.first_files import KEPT
        from sundog.image.transfer.packing import Packing

    if first is not None and compression != "estargz":
        raise UsageError(
            "first: only eStargz has a mark for what comes first", 'compression="estargz"'
        )
    listed = first if first in (None, KEPT) else os.path.abspath(path_of(first))
    packing = Packing.choose(compression, os.environ)

    def work(store: Store, report: ProgressReport) -> str:
        session = open_session(report, tls_verify=tls_verify, authenticated=True)
        remote = remote_of(session, destination or name)
        images = store.images.of_name(name)
        front = None
        if listed is not None:
            front = put_first(store, images, listed, name, report=report)
        digest = push_images(
            store, session, images, remote, packing=packing, report=report, first=front
        )
        return str(digest)

    return _on_store(work, storage, progress)


def tag(name: str, target: str, *, storage: Path | None = None) -> Image:
    """Give an image a further name, which another image loses.  Raises NotInStorage."""
    canonical = canonical_name(target)

    def work(store: Store, _: ProgressReport) -> dict[str, Any]:
        image = replace(store.images.get(name), reference=canonical, typed=target)
        store.images.put(image)
        return asdict(described(store, image))

    return Image(**_on_store(work, storage))


def remove(*names: str, storage: Path | None = None) -> None:
    """Delete images.  Raises NotInStorage if one of them is not there; then none is deleted.

    Raises UsageError for a pattern.
    """
    for name in names:
        if is_glob(name):
            raise UsageError(f"not the name of an image: {name}", "images() lists the names")

    def work(store: Store, _: ProgressReport) -> None:
        found = {name: store.images.matching(name)[name] for name in names}
        missing = [name for name, matching in found.items() if not matching]
        if missing:
            raise NotInStorage(f"no such image, can't delete: {' '.join(missing)}")
        store.images.delete(*names)

    _on_store(work, storage)


def load(
    path: Path,
    name: str | None = None,
    *,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> list[Image]:
    """Take images out of an OCI layout or an archive of ``docker save``; return them.

    ``name`` replaces the name of a single image.  Raises ArchiveError, UsageError.
    """
    with LOADING:
        from sundog.image.convert.load import load as load_images

    source = os.path.abspath(path_of(path))

    def work(store: Store, report: ProgressReport) -> list[dict[str, Any]]:
        loaded = load_images(store, source, name, platform=None, report=report)
        return [asdict(described(store, image)) for image in loaded]

    return [Image(**fields) for fields in _on_store(work, storage, progress)]


def save(
    names: str | Iterable[str],
    path: Path,
    *,
    format: str = "oci-archive",  # noqa: A002 - the option's name
    compression: str = "gzip",
    storage: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Write images to ``path``, which gets its name when it is complete and on the device.

    ``format`` is "oci-archive", "oci-dir" or "docker-archive".  Raises NotInStorage, UsageError.
    """
    with LOADING:
        from sundog.image.convert.save import save as save_images
        from sundog.image.registry.leaving import have_images
        from sundog.image.transfer.packing import Packing

    packing = Packing.choose(compression, os.environ)
    wanted = [names] if isinstance(names, str) else list(names)
    target = os.path.abspath(path_of(path))

    def work(store: Store, report: ProgressReport) -> None:
        found: list[StoredImage] = []
        for name in wanted:
            is_one = format == "docker-archive"  # it has no indexes
            found += [store.images.get(name)] if is_one else store.images.of_name(name)
        have_images(store, found, report)
        save_images(store, found, target, format, packing=packing, report=report)

    _on_store(work, storage, progress)


def import_image(path: Path, name: str, *, storage: Path | None = None) -> Image:
    """Make an image of a tar, perhaps compressed, or of a directory; return it.

    Raises ArchiveError, StoreError.
    """
    with LOADING:
        from sundog.image.transfer.importer import import_image as import_tree

    canonical_name(name)
    source = os.path.abspath(path_of(path))

    def work(store: Store, _: ProgressReport) -> dict[str, Any]:
        return asdict(described(store, import_tree(store, source, name)))

    return Image(**_on_store(work, storage))


def _on_store(
    work: Callable[[Store, ProgressReport], T],
    storage: Path | None,
    progress: Progress | None = None,
) -> T:
    """Do the work on the storage directory, in a process of its own."""
    place = None if storage is None else path_of(storage)

    def opened(report: ProgressReport) -> T:
        with open_store(place, report) as store:
            return work(store, report)

    return apart(opened, progress)


def path_of(path: Path) -> str:
    """Return a path as text.  Raises UsageError for one that cannot be."""
    text = os.fsdecode(os.fspath(path))
    if "\0" in text:
        raise UsageError("a path with a NUL byte", "no file can have it")
    return text


def open_store(storage: str | None, report: ProgressReport) -> Store:
    """Open the storage directory.  Raises StoreError."""
    return Store.open(None if storage is None else os.path.abspath(storage), tell=report.info)


def open_session(
    report: ProgressReport, *, tls_verify: bool, authenticated: bool = False
) -> Session:
    """Return the connections to registries; there is nobody to ask for a password."""
    with LOADING:
        from sundog.image.registry.session import Session  # most functions ask no registry

    return Session(os.environ, report, verify=tls_verify, authenticated=authenticated)


def parsed_platform(text: str) -> Platform:
    """Return the platform ``linux/arm64`` or ``arm64``.  Raises UsageError."""
    return Platform.parse(text.removeprefix("linux/"))


def described(store: Store, image: StoredImage) -> Image:
    """Return an image as the API shows it."""
    config = image.config
    return Image(
        image.typed,
        image.reference,
        image.id,
        config.created,
        store.images.size(image),
        image.origin,
        tuple(image.layers),
        config.entrypoint or (),
        config.cmd or (),
        config.user,
        config.working_dir,
        dict(config.environment),
        dict(config.labels),
    )
