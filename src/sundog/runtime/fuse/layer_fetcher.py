"""The process that fetches what is not here of layers, as the server of these layers sees it.

The process has the credentials and the HTTP client, so that the server has neither.  It belongs to
the server, and ends with it.  If it dies, another one goes on: at once for the first time, later
after a pause.
"""

from __future__ import annotations

import errno
import os
import time
from posix import environ

from sundog.base.cpython import allocate_lock, start_new_thread
from sundog.base.record.lazy_layer import (
    LAZY_BLOCK,
    LAZY_VARIABLE,
    SELDOM,
    WAIT_VARIABLE,
    is_incomplete,
    wait_seconds,
)
from sundog.runtime.fuse.channel import Channel
from sundog.runtime.fuse.fetch_messages import (
    ADD_LAYER,
    BLOCK_KEPT,
    BLOCK_LOST,
    DISCARD_BLOCKS,
    FETCH_MESSAGE,
    PREFER_BLOCKS,
    TELL_UNTIL,
    WANT_BLOCKS,
)
from sundog.runtime.fuse.fetcher_process import start_fetcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Waker(Protocol):
        """A lock that a reader waits for."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            """Wait; tell whether it was in time."""

        def release(self) -> None:
            """Wake the reader."""


_WAIT_SECONDS = 300.0  # by default: an error in a mapped page kills the program
_KEPT_LIMIT = 64 << 20  # bytes in memory, of blocks for which the disk has no room
_FIRST_PAUSE, _PAUSE_LIMIT = 0.5, 30.0  # seconds between two starts of the process
_LONG_ENOUGH = 60.0  # a process that lived so long counts as one that works

_Block = tuple[int, int]  # layer, block


class _Wanted:
    """A block that readers wait for; ``data`` are its bytes if the disk has no room for it."""

    __slots__ = ("data", "is_lost", "readers")

    def __init__(self) -> None:
        self.readers: list[Waker] = []
        self.is_lost = False
        self.data: bytes | None = None


class LayerFetcher:
    """The layers of a server that are not all here, and the process that fetches the rest.

    Threads may share it.
    """

    def __init__(self, caller: int = -1, ready: int = -1) -> None:
        """``caller`` is a pidfd of the process whose end ends the messages, or -1.

        ``ready`` is the channel to a process that another one has started, or -1.
        """
        self._caller = caller
        self._ready = ready
        self._lock = allocate_lock()  # of all that follows
        self._layers: list[int] = []  # descriptors of their directories
        self._first: list[Sequence[range]] = []  # of each layer: blocks that come first
        self._channel: Channel | None = None
        self._wanted: dict[_Block, _Wanted] = {}
        self._kept: dict[_Block, bytes] = {}
        self._pause = 0.0
        seconds = wait_seconds(environ.get(WAIT_VARIABLE, b""))
        self._seconds = _WAIT_SECONDS if seconds is None else seconds

    def add(self, directory: int, first: Sequence[range] = ()) -> int:
        """Let the rest of the layer in ``directory`` come; return the layer's number.

        ``directory`` is a descriptor, which stays open.  The blocks ``first`` come before others.
        The process starts at once, which takes a while, unless it is seldom of use.
        """
        with self._lock:
            self._layers.append(directory)
            self._first.append(first)
            number = len(self._layers) - 1
            if self._channel is not None:
                self._send_layer(number)
            elif environ.get(LAZY_VARIABLE) != SELDOM:
                self._start()
        return number

    def wait(self, layer: int, blocks: Sequence[int]) -> dict[int, bytes]:
        """Wait until all ``blocks`` are here; return those that are not in the layer file.

        Raises OSError (EIO) if one of them can't be had, or does not come in time.
        """
        kept: dict[int, bytes] = {}
        deadline = time.monotonic() + self._seconds
        for block, wanted, waker in self._want(layer, blocks, kept):
            if waker is not None and not waker.acquire(
                timeout=max(0.0, deadline - time.monotonic())
            ):
                raise OSError(errno.EIO, "a part of the layer does not come")
            if wanted.is_lost:
                raise OSError(errno.EIO, "a part of the layer can't be had")
            if wanted.data is not None:
                kept[block] = wanted.data
        return kept

    def expect(self, layer: int, blocks: Sequence[int]) -> None:
        """Let ``blocks`` come, for which a reader is going to wait."""
        self._want(layer, blocks, {}, waits=False)

    def discard(self, layer: int, blocks: Sequence[int]) -> None:
        """Forget ``blocks``, whose bytes were wrong: the next reader gets others."""
        with self._lock:
            for block in blocks:
                self._kept.pop((layer, block), None)
            self._send(DISCARD_BLOCKS, layer, blocks[0], len(blocks))

    def _want(
        self, layer: int, blocks: Sequence[int], kept: dict[int, bytes], *, waits: bool = True
    ) -> list[tuple[int, _Wanted, Waker | None]]:
        """Ask for ``blocks``; return what to wait for.  ``kept`` gets those in memory."""
        found: list[tuple[int, _Wanted, Waker | None]] = []
        new: list[int] = []
        with self._lock:
            for block in blocks:
                data = self._kept.get((layer, block))
                if data is not None:
                    kept[block] = data
                    continue
                wanted = self._wanted.get((layer, block))
                if wanted is None:
                    wanted = self._wanted[layer, block] = _Wanted()
                    new.append(block)
                waker = None
                if waits:
                    waker = allocate_lock()
                    waker.acquire()
                    wanted.readers.append(waker)
                found.append((block, wanted, waker))
            if new and self._channel is None:
                self._start()
            elif new:
                self._ask(layer, new)
        return found

    def _ask(self, layer: int, blocks: Sequence[int]) -> None:
        """Send WANT_BLOCKS for each run of ``blocks``, which are in order."""
        start = end = blocks[0]
        for block in [*blocks[1:], -1]:
            end += 1
            if block != end:
                self._send(WANT_BLOCKS, layer, start, end - start)
                start = end = block

    def _send(self, kind: int, layer: int, first: int, count: int) -> None:
        """Send a message.  A process that is dead does not mind: another one gets it anew."""
        if self._channel is None:
            return
        descriptor = self._layers[layer] if kind == ADD_LAYER else -1
        if kind == TELL_UNTIL:
            descriptor = self._caller
        try:  # noqa: SIM105 - contextlib is no part of the server
            self._channel.send(FETCH_MESSAGE.pack(kind, layer, first, count), descriptor)
        except OSError:
            pass

    def _send_layer(self, number: int) -> None:
        self._send(ADD_LAYER, number, 0, len(self._layers))
        for blocks in self._first[number]:
            self._send(PREFER_BLOCKS, number, blocks.start, len(blocks))

    def _start(self) -> None:
        """Start the process, and tell it all; the lock is held."""
        ours, child = (self._ready, 0) if self._ready >= 0 else start_fetcher()
        self._ready = -1
        channel = self._channel = Channel(ours)
        if self._caller >= 0:
            self._send(TELL_UNTIL, 0, 0, 0)
        for number in range(len(self._layers)):
            self._send_layer(number)
        for layer in {of for of, _ in self._wanted}:
            self._ask(layer, sorted(block for of, block in self._wanted if of == layer))
        start_new_thread(self._listen, (channel, child))

    def _listen(self, channel: Channel, child: int) -> None:
        """Take what the process says until it ends; then start another, if that is of use."""
        try:
            begun = time.monotonic()
            while self._receive(channel):
                pass
            channel.close()
            # How another's child has ended is not known: what is left tells it.
            has_finished = child == 0 or (child > 0 and os.waitpid(child, 0)[1] == 0)
            if time.monotonic() - begun > _LONG_ENOUGH:
                self._pause = 0.0
            if not has_finished:
                time.sleep(self._pause)
                self._pause = min(max(_FIRST_PAUSE, 2 * self._pause), _PAUSE_LIMIT)
            with self._lock:
                self._channel = None
                if self._wanted or not has_finished or any(map(_is_incomplete, self._layers)):
                    self._start()
        except BaseException:
            os._exit(1)  # the kernel closes the device

    def _receive(self, channel: Channel) -> bool:
        """Take a message; tell whether there was one."""
        try:
            message, descriptor = channel.receive()
        except OSError:
            return False
        if not message:
            return False
        kind, layer, first, count = FETCH_MESSAGE.unpack(message)
        data = None
        if descriptor >= 0:
            data = os.pread(descriptor, LAZY_BLOCK, 0)
            os.close(descriptor)
        with self._lock:
            for block in range(first, first + count):
                self._answer((layer, block), kind, data)
        return True

    def _answer(self, block: _Block, kind: int, data: bytes | None) -> None:
        """Wake those who wait for a block; ``data`` are its bytes if the disk is full."""
        wanted = self._wanted.pop(block, None)
        if kind == BLOCK_KEPT and data is not None:
            self._keep(block, data)
        if wanted is not None:
            wanted.data = data
            wanted.is_lost = kind == BLOCK_LOST
            for waker in wanted.readers:
                waker.release()

    def _keep(self, block: _Block, data: bytes) -> None:
        """Keep a block in memory, in place of the oldest ones."""
        self._kept[block] = data
        while len(self._kept) * LAZY_BLOCK > _KEPT_LIMIT:
            del self._kept[next(iter(self._kept))]


def _is_incomplete(directory: int) -> bool:
    """Tell whether the layer in an open directory is: one that came when the process ended."""
    return is_incomplete(b"/proc/self/fd/%d" % directory)
