"""A layer that is unpacked while its blob still comes in, by a tree worker of its own.

The process that fetches writes the blob to a file of ``blobs/``.  The worker reads that file; a
pipe tells the worker how much of the file there is.  So nothing is read twice or copied between
processes, a fetch never waits for the disk, and several layers are unpacked side by side.

A layer that takes something from the layers below waits for them.  That news comes through a second
pipe, because another thread waits for it.  Workers get the layers bottom first, so the lowest layer
that is not complete waits for no other.
"""

from __future__ import annotations

import io
import os
import select
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from sundog.base.wire.values import pack_value, unpack_value
from sundog.errors import ArchiveError, StoreError
from sundog.image.layer.below import LayerTree
from sundog.image.store.shown_trees import see
from sundog.image.store.tree_work import finish_draft, new_tree
from sundog.image.store.worker import TreeWorker, receive, send
from sundog.image.store.worker_protocol import put_together, take_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from sundog.base.record.layer_path import LayerPath
    from sundog.image.store.layer_info import LayerInfo

# Bytes of a blob between two messages of its arrival: at first this many, later a share of what
# has come.  So all messages about a blob of any size fit into the pipe, and no writer waits.  The
# other pipe carries one message for each blob, of two blobs at most: two numbers.
_STEP = 1 << 20
_SHARE = 16
_LENGTH = struct.Struct("<I")  # before each layer in the file of CompleteLayers


class CompleteLayers:
    """The layers that workers may look at, bottom first: a file in memory that only grows.

    Create it before the workers, which inherit it.  A message about a thousand layers would not fit
    into a pipe, and its writer would wait for a worker that does not need them.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("layers", os.MFD_CLOEXEC)
        self.shown = (0, 0)  # the first one that shows, and the number of all

    def begin(self, below: Sequence[LayerPath]) -> None:
        """Begin an image whose first layers are ``below``, the topmost first."""
        self.shown = (self.shown[1], self.shown[1])
        for path in reversed(below):
            self.add(path)

    def add(self, path: LayerPath, *, hides: bool = False) -> None:
        """Add a layer that is complete, and perhaps ``hides`` those below it."""
        data = pack_value(path, take_apart)
        os.write(self.fd, _LENGTH.pack(len(data)) + data)
        start, count = self.shown
        self.shown = (count if hides else start, count + 1)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def _complete_layers(fd: int, start: int, end: int) -> list[LayerPath]:
    """Return the layers with these numbers in a file of CompleteLayers, the topmost first."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    paths: list[LayerPath] = []
    position = number = 0
    while number < end:
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if number >= start:
            value = unpack_value(data[position : position + length], put_together)
            paths.append(cast("LayerPath", value))
        position += length
        number += 1
    return paths[::-1]


@dataclass(frozen=True, slots=True)
class Arrived:
    """An unpacked blob; with ``needs_below``, its tree is right on these layers below only."""

    info: LayerInfo
    diff_id: str
    needs_below: bool


@dataclass(frozen=True, slots=True)
class Pipes:
    """The ends of two pipes: one tells the sizes of blobs, the other which layers are below.

    ``layers`` is the file of CompleteLayers.
    """

    sizes: int
    below: int
    layers: int

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.sizes)
        os.close(self.below)


class Arrival:
    """One blob on its way; passes news of it on to the worker that unpacks it.

    ``total`` is the blob's size in bytes; its file is at one of ``paths``.  Several threads may use
    one object.
    """

    def __init__(self, number: int, total: int, paths: Sequence[bytes]) -> None:
        self.number = number
        self.total = total
        self.paths = tuple(paths)
        self._lock = threading.Lock()
        self._pipes: Pipes | None = None
        self._size = -1
        self._told = -1
        self._below: tuple[int, int] | None = None

    def arrived(self, size: int) -> None:
        """Tell the worker that the file is there and has ``size`` bytes."""
        with self._lock:
            self._size = size
            step = max(_STEP, size // _SHARE)
            if self._told < 0 or size - self._told >= step or size == self.total:
                self._tell_size()

    def release(self, shown: tuple[int, int]) -> None:
        """Tell the worker which of the CompleteLayers are below: see there."""
        with self._lock:
            self._below = shown
            self._tell_below()

    def attach(self, pipes: Pipes) -> None:
        """Tell all news, old and coming, to the worker at the other end of ``pipes``."""
        with self._lock:
            self._pipes = pipes
            self._tell_size()
            self._tell_below()

    def detach(self) -> None:
        """Tell the worker nothing more: it is done."""
        with self._lock:
            self._pipes = None

    def _tell_size(self) -> None:
        if self._pipes is not None and self._size >= 0:
            self._told = self._size
            send(self._pipes.sizes, pack_value((self.number, self._size)))

    def _tell_below(self) -> None:
        if self._pipes is not None and self._below is not None:
            send(self._pipes.below, pack_value((self.number, self._below)))


class ArrivalWorker:
    """A tree worker that unpacks blobs as they come in.  Start it before any thread.

    The worker imports its modules while it waits for its first task.
    """

    def __init__(self, layers: CompleteLayers) -> None:
        (sizes, told_sizes), (below, told_below) = os.pipe(), os.pipe()
        self._theirs = Pipes(sizes, below, layers.fd)
        self._ours = Pipes(told_sizes, told_below, layers.fd)
        self._worker = TreeWorker()
        self._worker.start(_get_ready)

    def unpack(self, arrival: Arrival, draft: bytes) -> Arrived:
        """Unpack a blob into ``draft``; raise ArchiveError, StoreError, OSError."""
        arrival.attach(self._ours)
        try:
            return self._worker.call(
                unpack_arriving, self._theirs, arrival.number, arrival.total, arrival.paths, draft
            )
        finally:
            arrival.detach()

    def kill(self) -> None:
        """End the worker, whatever it is doing; a thread in ``unpack`` gets an error."""
        self._worker.kill()

    def close(self) -> None:
        """Wait for the worker to end.  No thread may be in ``unpack``."""
        self._worker.close()
        self._theirs.close()
        self._ours.close()


def _get_ready() -> None:
    """Import the modules that ``unpack_arriving`` needs."""
    from sundog.image.layer import unpack  # noqa: F401
    from sundog.image.layer.compression import import_gzip

    import_gzip()


def unpack_arriving(
    pipes: Pipes, number: int, total: int, paths: Sequence[bytes], draft: bytes
) -> Arrived:
    """Unpack the layer in a blob of ``total`` bytes that is on its way.  Runs in the worker."""
    from sundog.image.layer.compression import open_decompressed
    from sundog.image.layer.unpack import unpack

    sizes, below = _News(pipes.sizes, number), _News(pipes.below, number)
    below.catch_up()
    with _Arriving(sizes, paths, total) as raw, open_decompressed(cast("BinaryIO", raw)) as stream:
        unpacked = unpack(stream, new_tree(draft), below=_Below(below, pipes.layers))
    info = finish_draft(draft, unpacked.owners, unpacked.diff_id)
    return Arrived(info, unpacked.diff_id, unpacked.needs_below)


class _News:
    """News of one blob from its pipe; ``last`` is the last message, None before the first."""

    def __init__(self, pipe: int, number: int) -> None:
        self._pipe = pipe
        self._number = number
        self.last: object = None

    def wait(self) -> None:
        """Take the next message.  A message about another blob is an old one, and is dropped."""
        message = receive(self._pipe)
        if message is None:
            raise StoreError("the process that fetches layers has died")
        match unpack_value(message, put_together):
            case (int(number), value):
                if number == self._number:
                    self.last = value
            case _:
                raise ValueError("news of no blob")

    def catch_up(self) -> None:
        """Take all messages in the pipe: some may be left that are about earlier blobs."""
        waiting = select.poll()
        waiting.register(self._pipe, select.POLLIN)
        while waiting.poll(0):
            self.wait()


class _Below:
    """The layers below, the topmost first.  Iteration waits until they are complete."""

    def __init__(self, news: _News, layers: int) -> None:
        self._news = news
        self._layers = layers

    def __iter__(self) -> Iterator[LayerTree]:
        while self._news.last is None:
            self._news.wait()
        start, end = cast("tuple[int, int]", self._news.last)
        paths = _complete_layers(self._layers, start, end)
        see(*(path.tree for path in paths))
        for path in paths:
            yield LayerTree.read(path)


class _Arriving(io.RawIOBase):
    """The bytes of a blob.  ``read`` waits for bytes that have not come yet."""

    def __init__(self, news: _News, paths: Sequence[bytes], total: int) -> None:
        self._news = news
        self._paths = paths
        self._total = total
        self._position = 0
        self._fd = -1

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self.readall()
        if self._position == self._total:
            return b""
        while (there := cast("int", self._news.last or 0)) <= self._position:
            self._news.wait()
        if self._fd < 0:
            self._fd = self._open()
        data = os.pread(self._fd, min(size, there - self._position), self._position)
        if not data:
            raise StoreError("a blob in storage has become shorter")
        self._position += len(data)
        return data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()

    def _open(self) -> int:
        """Open the file: it was at the first of its paths, and may have moved on to a later one."""
        for path in self._paths:
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # The fetching thread removed it because its bytes were wrong, and will report that.
        raise ArchiveError("its blob was discarded")
