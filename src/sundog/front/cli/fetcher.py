"""The process that fetches what is not here of layers: see ``runtime.fuse.layer_fetcher``.

It has the user's credentials, and no descriptor of the container's; no program can trace it.  It
ends with the server of the layers.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

from sundog.base.kernel.files import STDERR_FILENO, Closing, leave_descriptors, write_all
from sundog.base.kernel.process import PR_SET_NAME, prctl, set_dumpable
from sundog.base.record.layer_path import LAYER_FILE
from sundog.base.record.lazy_layer import (
    LAZY_BLOCK,
    LAZY_VARIABLE,
    ON_DEMAND,
    SELDOM,
    is_incomplete,
)
from sundog.errors import SundogError
from sundog.front.cli.report import Report
from sundog.image.layer.threads import started
from sundog.image.registry.filling import Filling
from sundog.image.registry.lazy_layer import LazyLayer, source_of
from sundog.image.registry.session import Session
from sundog.runtime.fuse.channel import Channel
from sundog.runtime.fuse.fetch_messages import (
    ADD_LAYER,
    BLOCK_KEPT,
    BLOCK_LOST,
    BLOCKS_ARRIVED,
    DISCARD_BLOCKS,
    FETCH_CHANNEL,
    FETCH_MESSAGE,
    PREFER_BLOCKS,
    TELL_UNTIL,
    WANT_BLOCKS,
)
from sundog.runtime.fuse.process import end_messages_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_NAME = b"sundog-fetch"  # as ps(1) shows it
_DIRECTORY = b"/proc/self/fd/%d"
_START_SECONDS = 5.0


class _Server:
    """The other end: it hears what came; the user hears what does not come."""

    def __init__(self, channel: Channel, report: Report) -> None:
        self._channel = channel
        self._report = report
        self.places: list[bytes] = []  # the directories of the layers
        self.count = 0  # of all layers, those that are about to be added, too
        self._complete: set[int] = set()

    def arrived(self, layer: int, blocks: range, kept: bytes | None) -> None:
        """See ``Listener``."""
        if kept is None:
            self._send(BLOCKS_ARRIVED, layer, blocks)
            return
        for at, block in enumerate(blocks):
            with Closing(os.memfd_create("block", os.MFD_CLOEXEC)) as memory:
                try:
                    write_all(memory, kept[at * LAZY_BLOCK :][:LAZY_BLOCK])
                except OSError:  # RLIMIT_FSIZE, perhaps why the disk has no room, is for it, too
                    self.lost(layer, block)
                else:
                    self._send(BLOCK_KEPT, layer, range(block, block + 1), memory)

    def lost(self, layer: int, block: int) -> None:
        """See ``Listener``."""
        self._send(BLOCK_LOST, layer, range(block, block + 1))

    def tell(self, text: str) -> None:
        """See ``Listener``."""
        with suppress(OSError):  # nobody reads it any more
            self._report.info(f"ch-run[{os.getpid()}]: {text}")

    def advance(self, size: int) -> None:
        """See ``Listener``: nobody watches."""

    def ended(self, layer: int, error: Exception | None) -> None:
        """See ``Listener``; with the last layer, the process ends."""
        if error is None:
            self._complete.add(layer)
            if len(self._complete) == self.count:
                os._exit(0)
        elif _exists(self.places[layer]):  # else it was deleted
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Tell the user that a layer does not come."""
        self.tell(f"the rest of the image does not come: {error}")

    def _send(self, kind: int, layer: int, blocks: range, descriptor: int = -1) -> None:
        message = FETCH_MESSAGE.pack(kind, layer, blocks.start, len(blocks))
        try:
            self._channel.send(message, descriptor)
        except OSError:
            os._exit(0)  # the server has ended


def _exists(layer: bytes) -> bool:
    """Tell whether the layer in an open directory is still there."""
    return os.path.exists(layer + LAYER_FILE)


def main() -> NoReturn:
    """Be the process, for the server at the other end of FETCH_CHANNEL."""
    leave_descriptors((FETCH_CHANNEL, STDERR_FILENO))
    set_dumpable(False)
    prctl(PR_SET_NAME, b"PR_SET_NAME", _NAME)
    report = Report()
    channel = Channel(FETCH_CHANNEL)
    server = _Server(channel, report)
    fills = os.environb.get(LAZY_VARIABLE) not in (ON_DEMAND, SELDOM)

    @cache
    def filling() -> Filling:  # a start begins with the first layer
        return Filling(server, fills=fills, start=_START_SECONDS)

    @cache
    def session(verify: bool) -> Session:
        return Session(os.environ, report, verify=verify, attempts=1)

    session(True).load()
    while True:
        try:
            message, descriptor = channel.receive()
        except OSError:
            os._exit(0)  # the server was killed before it read all that was sent to it
        if not message:
            os._exit(0)  # the container has ended
        kind, layer, first, count = FETCH_MESSAGE.unpack(message)
        if kind == TELL_UNTIL:
            started(end_messages_after, descriptor)
        elif kind == ADD_LAYER:
            place = _DIRECTORY % descriptor
            server.places.append(place)
            server.count = count
            try:
                if _exists(place) and not is_incomplete(place):  # another process was first
                    server.ended(layer, None)
                else:
                    filling().add(layer, LazyLayer(place, session(source_of(place).verify)))
            except (SundogError, OSError) as error:
                server.fail(error)
        elif kind == WANT_BLOCKS:
            filling().want(layer, range(first, first + count))
        elif kind == PREFER_BLOCKS:
            filling().prefer(layer, range(first, first + count))
        elif kind == DISCARD_BLOCKS:
            filling().discard(layer, range(first, first + count))
