"""Push: an image of the store to a registry, one blob per layer.

Specification: OCI distribution-spec v1.1, "Push".  A push does not send what the registry has: it
asks for each blob, and asks the registry to take blobs from its other repositories.  Several
threads do that side by side.  Layers are packed one at a time, while other layers travel.  The last
request moves the tag; until then nobody sees anything new.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sundog.errors import ProtocolError, RegistryError, UsageError
from sundog.image.layer.threads import started, taken
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.index import Index
from sundog.image.oci.media_types import OCI_INDEX
from sundog.image.oci.reference import Reference
from sundog.image.registry.auth import pull_scope, push_scope
from sundog.image.registry.leaving import have_images, have_layers
from sundog.image.registry.upload import Uploader, mount
from sundog.image.transfer.documents import as_it_came, leaving_image, stays_where_it_is
from sundog.image.transfer.packing import known_blobs, pack, warn_of_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.image.registry.client import RegistryClient
    from sundog.image.registry.config import Remote
    from sundog.image.registry.session import Session
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_info import LayerBlob
    from sundog.image.store.store import Store
    from sundog.image.transfer.documents import LeavingImage
    from sundog.image.transfer.first_files import FirstFiles
    from sundog.image.transfer.packing import Packing
    from sundog.image.transfer.report import Report, WatchingReport

_SENDERS = 4


def destination(session: Session, text: str) -> Remote:
    """Return the remote that ``text`` names as an image's destination.

    Raises ReferenceSyntaxError, ConfigurationError, and UsageError for a name with a digest.
    """
    if Reference.parse(text).digest is not None:
        raise UsageError(
            f"can't push to a digest: {text}", "the digest follows from the image; give a tag"
        )
    return session.registries.remotes(text)[0]


def put_first(
    store: Store, images: Sequence[Image], source: str, name: str, *, report: Report
) -> FirstFiles:
    """Return which files ``source`` puts first: see ``first_files``.

    Their layers leave in another tar, so they are completed and checked.
    """
    from sundog.image.transfer.first_files import first_files  # few pushes need it

    first = first_files(store, source, name, images, report)
    have_layers(store, [layer for layer, paths in first.items() if paths], report)
    return first


def push_images(
    store: Store,
    session: Session,
    images: Sequence[Image],
    remote: Remote,
    *,
    packing: Packing,
    report: WatchingReport,
    first: FirstFiles | None = None,
) -> Digest:
    """Push images, each for another platform, to ``remote``; return what its tag names then.

    That is the digest of the manifest of the only image, else that of an index of all.  ``first``
    are the files of layers that come first in them: see ``Packing``.  Raises what
    the registry client raises; the tag is then what it was.
    """
    # Mirrors are for pulls.
    endpoint = remote.endpoints[-1]
    client = session.client(endpoint, (push_scope(endpoint.repository),))
    client.check()
    have_images(store, images, report)
    pushing = Pushing(store, session, client, packing, report, first=first)
    tag = remote.reference.tag or "latest"
    entries = []
    for image in sorted(images, key=lambda image: str(image.platform)):
        if len(images) > 1:
            report.info(f"platform:        {image.platform}")
        blobs = pushing.layers(image.layers)
        leaving = as_it_came(store, image, blobs) or leaving_image(
            image.config, blobs, packing.epoch, image.annotations
        )
        is_child = len(images) > 1
        pushing.documents(leaving, str(leaving.descriptor.digest) if is_child else tag)
        entries.append(replace(leaving.descriptor, annotations=image.annotations))
    if len(entries) == 1:
        return entries[0].digest
    report.info("index: uploading")
    content = Index(tuple(entries)).to_bytes()
    described = Descriptor(OCI_INDEX, Digest.of(content), len(content))
    return put_document(client, tag, described, content)


def put_document(
    client: RegistryClient, version: str, descriptor: Descriptor, content: bytes
) -> Digest:
    """Bring a manifest or an index to a repository, as a tag or a digest; return its digest."""
    send_document(client, version, descriptor, content)
    return descriptor.digest


def send_document(
    client: RegistryClient, version: str, descriptor: Descriptor, content: bytes
) -> Mapping[str, str]:
    """Do as ``put_document``, but return the header fields of the registry's answer."""
    what = f"{client.endpoint}{'@' if ':' in version else ':'}{version}"
    response = client.send(
        "PUT",
        client.path("manifests", version),
        {"Content-Type": descriptor.media_type},
        content,
        expected=(201, 200, 202),
        what=what,
    )
    response.close()
    digest = descriptor.digest
    announced = response.headers.get("Docker-Content-Digest", str(digest))
    if announced != str(digest):
        raise ProtocolError(f"{what}: the registry made {announced} of manifest {digest}")
    return response.headers


@dataclass
class _Job:
    """A layer on its way, its blob once there is one, and the blobs that the registry lacks."""

    layer: str
    label: str
    below: Sequence[str]
    packing: Packing
    blob: LayerBlob | None = None
    absent: set[Digest] = field(default_factory=set)


class Pushing:
    """Pushes to the repository of ``client``."""

    def __init__(
        self,
        store: Store,
        session: Session,
        client: RegistryClient,
        packing: Packing,
        report: WatchingReport,
        *,
        first: FirstFiles | None = None,
    ) -> None:
        self._first = first
        self._store = store
        self._session = session
        self._client = client
        self._packing = packing
        self._report = report
        self._cancelled = threading.Event()
        self._store_lock = threading.Lock()  # guards all writes to the store
        self._uploader = Uploader(client, self._cancelled)

    def documents(self, leaving: LeavingImage, version: str) -> Digest:
        """Bring an image's documents there, once its layers are; return its manifest's digest."""
        client, config = self._client, leaving.manifest.config
        self._report.verbose(f"config: {config.digest.encoded[:7]}: uploading")
        self._uploader.put(leaving.config, config)
        self._report.info("manifest: uploading")
        return put_document(client, version, leaving.descriptor, leaving.content)

    def content(self, content: bytes, blob: LayerBlob) -> None:
        """Bring a small blob there."""
        self._uploader.put(content, blob.descriptor)

    def layers(self, layers: Sequence[str]) -> list[LayerBlob]:
        """Bring all layers into the repository; return their blobs."""
        count = len(layers)
        jobs = {
            layer: _Job(
                layer, f"layer {number}/{count}", layers[: number - 1], self._packing_of(layer)
            )
            for number, layer in enumerate(layers, 1)
        }
        for job in jobs.values():
            warn_of_layer(self._store, job.layer, job.label, self._report.warning)
        # Ask for the blobs first.  Often the registry has all of them, and then the slow start of
        # the worker is saved.
        self._side_by_side(self._find, [job for job in jobs.values() if self._was_here(job)])
        if left := [job for job in jobs.values() if job.blob is None]:
            self._store.worker.start()  # which forks: not where there are threads
            self._side_by_side(self._send, left)
        return [blob for layer in layers if (blob := jobs[layer].blob) is not None]

    def _packing_of(self, layer: str) -> Packing:
        if self._first is None:
            return self._packing
        return replace(self._packing, first=self._first.get(layer, ()))

    def _side_by_side(self, work: Callable[[_Job], object], jobs: Sequence[_Job]) -> None:
        """Do the work for all jobs in a few threads; they have ended when this returns.

        One job needs no thread.
        """
        if len(jobs) == 1:
            work(jobs[0])
            return
        waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def work_off() -> None:
            with suppress(queue.Empty):
                while not self._cancelled.is_set():
                    job = waiting.get_nowait()
                    try:
                        work(job)
                    except BaseException as error:  # the main thread raises it
                        done.put(error)
                    else:
                        done.put(None)

        threads = []
        try:
            threads += [started(work_off) for _ in range(min(_SENDERS, len(jobs)))]
            for _ in jobs:
                if (error := taken(done)) is not None:
                    raise error
        finally:
            self._cancelled.set()
            # A thread that packs uses the store's worker: let it finish.
            with self._store_lock:
                pass
        for thread in threads:
            thread.join()
        self._cancelled.clear()

    def _was_here(self, job: _Job) -> bool:
        """Tell whether the repository had a blob of the layer when it was last pushed or pulled."""
        endpoint = self._client.endpoint
        place = f"{endpoint.host}/{endpoint.repository}"
        return any(
            place in blob.places for blob in known_blobs(self._store, job.layer, job.packing)
        )

    def _find(self, job: _Job) -> bool:
        """Tell whether the repository has one layer, or can have it without an upload."""
        for blob in known_blobs(self._store, job.layer, job.packing):
            name = f"{job.label}: {blob.descriptor.digest.encoded[:7]}"
            if stays_where_it_is(blob.descriptor):
                self._report.info(f"{name}: stays where it is: {blob.descriptor.urls[0]}")
            elif self._client.has_blob(blob.descriptor.digest):
                self._report.info(f"{name}: already present")
            elif self._is_mounted(blob):
                self._report.info(f"{name}: taken from another repository of the registry")
            else:
                job.absent.add(blob.descriptor.digest)
                continue
            self._finish(job, blob)
            return True
        return False

    def _send(self, job: _Job) -> None:
        """Bring one layer into the repository."""
        if job.absent or not self._find(job):
            self._pack_and_send(job)

    def _pack_and_send(self, job: _Job) -> None:
        """Make a blob of a layer and upload it."""
        with self._store_lock:
            if self._cancelled.is_set():
                return
            self._report.verbose(f"{job.label}: preparing")
            size = self._store.layers.size(job.layer)
            with self._report.watched(f"{job.label}: packing", size):
                packed = pack(self._store, job.layer, job.packing, job.below)
        descriptor = packed.blob.descriptor
        name = f"{job.label}: {descriptor.digest.encoded[:7]}"
        is_sent = False
        try:
            if descriptor.digest not in job.absent and self._client.has_blob(descriptor.digest):
                self._report.info(f"{name}: already present")
            else:
                transfer = self._report.transfer(name, "uploading", descriptor.size)
                try:
                    self._uploader.upload(descriptor, packed.path, transfer)
                finally:
                    transfer.end()
                is_sent = True
        finally:
            packed.discard(self._store)
        self._finish(job, packed.blob, is_sent=is_sent)

    def _is_mounted(self, blob: LayerBlob) -> bool:
        """Ask the registry to take a blob from another of its repositories; tell whether it did."""
        endpoint = self._client.endpoint
        for place in blob.places:
            host, _, repository = place.partition("/")
            if host != endpoint.host or repository == endpoint.repository:
                continue
            scopes = (push_scope(endpoint.repository), pull_scope(repository))
            with suppress(RegistryError):  # whatever the error is, an upload does as well
                client = self._session.client(endpoint, scopes)
                if mount(client, blob.descriptor.digest, repository):
                    return True
        return False

    def _finish(self, job: _Job, blob: LayerBlob, *, is_sent: bool = False) -> None:
        endpoint = self._client.endpoint
        with self._store_lock:
            self._store.layers.add_blob(
                job.layer, blob.also_at(f"{endpoint.host}/{endpoint.repository}")
            )
            if is_sent:  # the next push reuses it, even if this one is killed now
                self._store.layers.write_down()
        job.blob = blob
