"""Layers from a registry into the store: fetched side by side, unpacked while they come in.

Threads fetch blobs and report their progress; worker processes unpack.  There are at most as many
workers as processors; the first one starts before anybody knows what to unpack.  Threads and
workers take the layers bottom first.  A layer gets its place when all layers are complete, checked
and on the device.  After a failure, the store keeps the blobs that were complete.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from sundog.base.record.layer_path import LayerPath
from sundog.errors import ArchiveError, DigestMismatch, SundogError
from sundog.image.layer.limits import Meter
from sundog.image.layer.threads import started, taken
from sundog.image.store.layer_info import LayerBlob
from sundog.image.transfer.arrivals import Arrival, ArrivalWorker, Arrived, CompleteLayers
from sundog.image.transfer.backoff import ATTEMPTS
from sundog.image.transfer.fetch import Fetch
from sundog.image.transfer.packing import is_marked
from sundog.image.transfer.present import Under, blob_keys, present_layers, tree_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self, TypeVar

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.digest import Digest
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.fetch import Source
    from sundog.image.transfer.present import TreeIds
    from sundog.image.transfer.report import Report

    T = TypeVar("T")

_FETCHERS = 4
_WORKERS = 4
_FLUSH_SECONDS = 0.3


@dataclass(frozen=True)
class RemoteLayer:
    """A layer as a manifest and a configuration describe it, and the sources of its blob.

    ``place`` is its repository, as ``HOST/NAME``; "" if it comes from none.  ``instruction`` and
    ``guessed`` are those of ``LayerInfo``, for a layer of which more is known.
    """

    descriptor: Descriptor
    diff_id: str
    sources: Sequence[Source]
    place: str = ""
    instruction: str = ""
    guessed: bool = False


@dataclass
class _Job:
    """A layer on its way; ``fetched`` is true once its blob is here and checked."""

    number: int
    label: str
    layer: RemoteLayer
    arrival: Arrival
    draft: bytes
    fetched: bool = False
    unpacked: Arrived | ArchiveError | None = None


@dataclass(frozen=True)
class _Event:
    """A thread's report: None for a blob that is here, an unpacked layer, or an error."""

    job: _Job
    result: Arrived | BaseException | None


class Unpackers:
    """The worker processes of a pull; leaving the context ends them.

    ``meter`` limits what they unpack by what comes in; without ``counts_arrivals``, by what it has
    counted before.  ``in_use`` says that threads may still call the workers; leaving the context
    then does not wait for the workers.
    """

    def __init__(self, meter: Meter | None = None, *, counts_arrivals: bool = True) -> None:
        self._counts_arrivals = counts_arrivals
        self._meter = meter or Meter(counts_input=False)
        self._workers: list[ArrivalWorker] = []
        self.complete = CompleteLayers()
        self.in_use = False

    def prepare(self) -> None:
        """Start the first worker: it imports its modules while others look up what to unpack.

        No thread may exist yet.
        """
        with suppress(OSError):  # too many processes, say: for_layers reports it if one is needed
            self.for_layers(1)

    def for_layers(self, count: int) -> Sequence[ArrivalWorker]:
        """Start and return the workers for ``count`` layers.  No thread may exist yet."""
        wanted = min(count, _WORKERS, len(os.sched_getaffinity(0)))
        while len(self._workers) < wanted:
            with self._meter.shared(len(self._workers) + 1):
                self._workers.append(ArrivalWorker(self.complete))
        return self._workers

    def arrived(self, size: int) -> None:
        """Count ``size`` bytes that came in for the workers to read."""
        if self._counts_arrivals:
            self._meter.fetched(size)

    def kill(self) -> None:
        """End the workers, whatever they do."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if not self.in_use:
            for worker in self._workers:
                worker.close()
            self.complete.close()


def pull_layers(
    store: Store,
    layers: Sequence[RemoteLayer],
    unpackers: Unpackers,
    report: Report,
    *,
    below: Sequence[LayerId] = (),
    goes_on: bool = False,
    attempts: int = ATTEMPTS,
    under: Under | None = None,
    count: int | None = None,
) -> list[str]:
    """Bring all ``layers``, given bottom first, into the store and return their IDs.

    They are on top of the layers ``below``, which the store has.  Raises what fetching and
    unpacking raise; then no layer is in place, and ``unpackers`` cannot be used again.  A thread
    may still wait for bytes then, unless the process ``goes_on`` afterwards.  ``attempts`` is how
    often a source is asked that does not answer.  ``under``, if given, is what is known of
    the layers ``below``.  ``count`` is the number of all layers of the
    image, if there are others.
    """
    if under is None:
        known = [store.layers.portable_id(layer) for layer in below]
        under = Under(known, known)
    trees, present = _identities(store, layers, under)
    jobs: dict[int, _Job] = {}
    for number, (layer, found) in enumerate(zip(layers, present, strict=True)):
        hexadecimal = layer.descriptor.digest.encoded[:7]
        place = len(below) + number if count else number
        label = f"layer {place + 1}/{count or len(layers)}: {hexadecimal}"
        if found:
            report.info(f"{label}: using existing layer")
        else:
            jobs[number] = _job(store, number, label, layer)
        if found and is_marked(layer.descriptor):
            store.layers.mark_unrecorded(found)
        if found and layer.guessed:
            store.layers.mark_guessed(found)
    if not jobs:
        return [found for found in present if found]
    drafts = []
    identities: list[str] = []
    fetch = Fetch(store.blobs, threading.Event(), attempts)
    unpackers.complete.begin(store.layers.paths(below))  # no threads yet: it may join layers
    with _running(store, list(jobs.values()), unpackers, report, fetch, goes_on=goes_on) as events:
        for number, (layer, found) in enumerate(zip(layers, present, strict=True)):
            if found:
                identity, info, path = found, store.layers.info(found), store.layers.path(found)
            else:
                job = jobs[number]
                job.arrival.release(unpackers.complete.shown)
                arrived = _completed(job, events)
                identity = trees[number][arrived.needs_below]
                places = (layer.place,) if layer.place else ()
                blob = LayerBlob(layer.descriptor, layer.diff_id, places=places)
                info = replace(
                    arrived.info,
                    blobs=(blob,),
                    unrecorded=is_marked(layer.descriptor),
                    guessed=layer.guessed,
                ).made_by(layer.instruction, [*below, *identities] if layer.instruction else ())
                path = LayerPath.of(job.draft)
                drafts.append((job.draft, identity, info))
            identities.append(identity)
            unpackers.complete.add(path, hides=info.root_opaque)
    if not store.layers.add_all(drafts):
        store.device.sync()  # for the blobs
    store.blobs.settle({job.layer.descriptor.digest for job in jobs.values()})
    return identities


def _identities(
    store: Store, layers: Sequence[RemoteLayer], under: Under
) -> tuple[list[TreeIds], list[str]]:
    """Return the IDs that ``layers`` would get as trees, and those that the store has, or ""."""
    diff_ids = [layer.diff_id for layer in layers]
    keys = [blob_keys(store, layer.descriptor) for layer in layers]
    return tree_ids(diff_ids, under.keys), present_layers(store, diff_ids, keys, under=under)


def _job(store: Store, number: int, label: str, layer: RemoteLayer) -> _Job:
    digest = layer.descriptor.digest
    paths = [store.blobs.partial_path(digest), store.blobs.path(digest)]
    arrival = Arrival(number, layer.descriptor.size, paths)
    return _Job(number, label, layer, arrival, store.scratch.new())


@contextmanager
def _running(
    store: Store,
    jobs: Sequence[_Job],
    unpackers: Unpackers,
    report: Report,
    fetch: Fetch,
    *,
    goes_on: bool,
) -> Iterator[queue.SimpleQueue[_Event]]:
    """Fetch and unpack ``jobs`` while the context lasts; leaving it early gives up.

    The threads report to the queue that the context returns.
    """
    cancelled = fetch.cancelled
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    # Two layers may have the same blob: it is fetched once.
    by_digest: dict[Digest, list[_Job]] = {}
    for job in jobs:
        by_digest.setdefault(job.layer.descriptor.digest, []).append(job)
    to_fetch = _queue(by_digest.values())
    to_unpack = _queue(jobs)
    workers = unpackers.for_layers(len(jobs))

    def fetch_all() -> None:
        with suppress(queue.Empty):
            while not cancelled.is_set():
                _fetch(fetch, to_fetch.get_nowait(), unpackers, report, events)

    def unpack_all(worker: ArrivalWorker) -> None:
        with suppress(queue.Empty):
            while not cancelled.is_set():
                if not _unpack(worker, to_unpack.get_nowait(), events):
                    return  # the next call would start the dead worker anew, and there are threads

    unwritten: list[Exception] = []
    unpackers.in_use = True
    awaited: list[threading.Thread] = []
    fetchers: list[threading.Thread] = []
    try:
        awaited.append(flusher := started(_flush, store, cancelled, unwritten))
        fetchers += [started(fetch_all) for _ in range(min(_FETCHERS, len(by_digest)))]
        for worker in workers:
            awaited.append(started(unpack_all, worker))
        yield events
        for thread in fetchers:
            thread.join()
        cancelled.set()
        flusher.join()
        if unwritten:
            raise unwritten[0]
    finally:
        if goes_on and isinstance(sys.exception(), Exception):
            awaited += fetchers  # processes are forked where there are no threads
        # A fetch that waits for bytes ends with the process; the store keeps what it has.
        cancelled.set()
        unpackers.kill()
        for thread in awaited:
            thread.join()
        unpackers.in_use = False


def _flush(store: Store, cancelled: threading.Event, unwritten: list[Exception]) -> None:
    """Sync the device now and then until ``cancelled``; ``unwritten`` gets the error.

    The disk works meanwhile, so that the last sync has little left to do.
    """
    try:
        while not cancelled.wait(_FLUSH_SECONDS):
            with store.faults:
                store.device.sync()
    except Exception as error:  # the kernel reports it once, and not to the last sync again
        unwritten.append(error)


def _queue(items: Iterable[T]) -> queue.SimpleQueue[T]:
    filled: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        filled.put(item)
    return filled


def _fetch(
    fetch: Fetch,
    twins: Sequence[_Job],
    unpackers: Unpackers,
    report: Report,
    events: queue.SimpleQueue[_Event],
) -> None:
    """Fetch one blob for all layers that consist of it."""
    first = twins[0]
    counted = 0

    def arrived(size: int) -> None:
        nonlocal counted
        if size > counted:  # for each byte once
            unpackers.arrived(size - counted)
            counted = size
        for job in twins:
            job.arrival.arrived(size)

    try:
        descriptor = first.layer.descriptor
        if fetch.blobs.has(descriptor.digest) and fetch.blobs.check(descriptor.digest):
            report.info(f"{first.label}: using existing file")
            arrived(descriptor.size)
        else:
            verb = "downloading" if first.layer.place else "copying"
            transfer = report.transfer(first.label, verb, descriptor.size)
            try:
                fetch.blob(descriptor, first.layer.sources, arrived, transfer)
            finally:
                transfer.end()
        result = None
    except Exception as error:
        result = error
    for job in twins:
        events.put(_Event(job, result))


def _unpack(worker: ArrivalWorker, job: _Job, events: queue.SimpleQueue[_Event]) -> bool:
    """Unpack a layer; return whether the worker can take another: after a damaged one it can."""
    result: Arrived | BaseException
    try:
        result = worker.unpack(job.arrival, job.draft)
    except Exception as error:
        result = error
    events.put(_Event(job, result))
    return isinstance(result, Arrived | ArchiveError)


def _completed(job: _Job, events: queue.SimpleQueue[_Event]) -> Arrived:
    """Wait for a layer and return it unpacked; raise the first error, whichever layer it is about.

    An error of unpacking waits until the blob is complete: if the blob is damaged, that is the
    better message, and it comes at the blob's end.
    """
    while not (job.fetched and job.unpacked):
        event = taken(events)
        match event.result:
            case None:
                event.job.fetched = True
            case ArchiveError() | Arrived():
                event.job.unpacked = event.result
            case SundogError() as error:
                raise _placed(error, event.job)
            case error:
                raise error
        if event.job.fetched and isinstance(event.job.unpacked, ArchiveError):
            raise _placed(event.job.unpacked, event.job)
    assert isinstance(job.unpacked, Arrived)
    if job.unpacked.diff_id != job.layer.diff_id:
        raise DigestMismatch(
            f"{job.label}: unpacked, it has digest {job.unpacked.diff_id}, "
            f"the configuration says {job.layer.diff_id}",
            "the image in the registry is damaged: push it again",
        )
    return job.unpacked


def _placed(error: SundogError, job: _Job) -> SundogError:
    """Prefix ``error`` with the layer that it is about; return it."""
    error.message = f"{job.label}: {error.message}"
    return error
