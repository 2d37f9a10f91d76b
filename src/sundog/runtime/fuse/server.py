"""The server of one-file images: a process of the host that answers for its mounts.

The process belongs to one ``ch-run``.  It is in none of the container's namespaces, and no program
of a container can trace it.  ``ch-run`` sends it each device of FUSE that is mounted, through a
socket.  The process ends with its last mount: the kernel then ends the read with ENODEV.

If the process dies of anything, the kernel closes the devices.  Programs get ENOTCONN then; none of
them waits for ever.  So an error that is not the image's own ends the process.

This module and what it imports are used in that process only; ``launcher.file_server`` is the other
side.
"""

from __future__ import annotations

import os

from sundog.base.cpython import allocate_lock, start_new_thread
from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.mounts import RESOLVE_BENEATH
from sundog.base.record.lazy_layer import LAYER_PLACE
from sundog.errors import SundogError
from sundog.runtime.fuse.channel import Channel
from sundog.runtime.fuse.concurrent import ConcurrentService
from sundog.runtime.fuse.files import ImageFiles
from sundog.runtime.fuse.layer_files import LayersFiles
from sundog.runtime.fuse.messages import DEVICE_MESSAGE, FAILED, LAYERS, READY
from sundog.runtime.fuse.process import end_messages_after
from sundog.runtime.fuse.read_order import ReadOrder, joined_runs
from sundog.runtime.fuse.records import write_records
from sundog.runtime.fuse.requests import serve_device
from sundog.runtime.squashfs.image import SquashfsImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.record.start_record import StartRecord
    from sundog.runtime.fuse.blob import Blob
    from sundog.runtime.fuse.layer_fetcher import LayerFetcher


class ImageServer:
    """The mounts of one ``ch-run``.

    ``channel`` is a descriptor.  ``images`` are the files, open, and the places where SquashFS
    begins in them; or the directory of the layers of a store, and LAYERS.  ``caller`` is a pidfd of
    the process whose end ends the messages, or -1.  ``is_single`` says that there will be one
    mount.  ``record`` is what a ``ReadOrder`` of the layers takes, if there is to be one.
    ``fetcher`` is as ``ready`` of ``LayerFetcher``.
    """

    def __init__(
        self,
        channel: int,
        images: Sequence[tuple[int, int]],
        caller: int,
        *,
        is_single: bool,
        record: StartRecord | None,
        fetcher: int = -1,
    ) -> None:
        self._channel = Channel(channel)
        self._images = images
        self._caller = caller
        self._fetcher = fetcher
        self._order: ReadOrder | None = None
        if record is not None:
            directory, name, is_kept = record
            self._order = ReadOrder(directory, name, is_kept=is_kept)
        self._is_single = is_single  # a thread costs some of the start
        self._lock = allocate_lock()
        self._served = 1  # the mounts; the channel counts as one, too

    def run(self) -> None:
        """Serve all that comes through the channel.  Never returns: ends the process."""
        if self._caller >= 0:
            start_new_thread(end_messages_after, (self._caller,))
        while True:
            message, device = self._channel.receive()
            if not message:
                break
            self._begin(message, device)
        self._channel.close()
        self._end()
        forever = allocate_lock()
        forever.acquire()
        forever.acquire()  # a thread ends the process

    def _begin(self, message: bytes, device: int) -> None:
        """Serve ``device``, if its image can be read; in a thread of its own if others may come."""
        index, uid, gid, flag = DEVICE_MESSAGE.unpack(message)
        descriptor, offset = self._images[index]
        records = -1
        files: ImageFiles | LayersFiles
        try:
            if offset == LAYERS:
                files = LayersFiles(
                    *(descriptor, uid, gid),
                    is_whole=bool(flag),
                    open_lazy=_lazy_opener((self._caller, self._fetcher), self._order),
                    order=self._order,
                )
            else:
                image = SquashfsImage(descriptor, offset)
                if flag:
                    records = write_records(image, self._channel.is_closed)
                files = ImageFiles(image, uid, gid, os.fstat(descriptor).st_size - offset)
        except (SundogError, OSError, MemoryError) as error:
            os.close(device)
            text = error.message if isinstance(error, SundogError) else str(error)
            self._channel.send(FAILED + text.encode("utf-8", "backslashreplace"))
            return
        with self._lock:
            self._served += 1
        if not self._is_single:
            start_new_thread(self._serve, (device, files))
        self._channel.send(READY, records)
        if records >= 0:
            os.close(records)
        if self._is_single:
            self._channel.close()
            self._end()
            self._serve(device, files)

    def _serve(self, device: int, files: ImageFiles | LayersFiles) -> None:
        try:
            if isinstance(files, LayersFiles):
                ConcurrentService(device, files.handlers, self._end).serve()
                return  # the device stays open: threads may be about to answer
            serve_device(device, files.handlers)
            os.close(device)
        except BaseException:
            os._exit(1)  # the kernel closes the devices
        self._end()

    def _end(self) -> None:
        """Count one mount less; end the process after the last."""
        with self._lock:
            self._served -= 1
            if not self._served:
                if self._order is not None:
                    self._order.save()
                os._exit(0)


def _lazy_opener(given: tuple[int, int], order: ReadOrder | None) -> Callable[[int, bytes], Blob]:
    """Return a function that opens the blob of a layer in a directory that is not all here.

    It also takes the layer's ID, by which ``order`` knows what comes first.  One process fetches
    for all layers that it opens; ``given`` is what a ``LayerFetcher`` takes.
    """
    fetcher: LayerFetcher | None = None

    def open_lazy(directory: int, name: bytes) -> Blob:
        nonlocal fetcher
        place = open_regular(directory, LAYER_PLACE[1:], RESOLVE_BENEATH)
        if place >= 0:
            from sundog.runtime.fuse.placed_blob import PlacedBlob  # noqa: PLC0415 - likewise

            with Closing(directory), Closing(place):
                return PlacedBlob(directory, place)
        from sundog.runtime.fuse.lazy_blob import LazyBlob  # noqa: PLC0415 - few layers need it

        first: Sequence[range] | None = ()
        if order is not None:
            first = joined_runs(order.earlier.get(name, ())) if order.earlier else None
        blob = LazyBlob(directory, fetcher, given, first)
        fetcher = blob.fetcher
        return blob

    return open_lazy
