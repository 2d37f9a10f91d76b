"""Layers are checked while they come, and what is on disk in the end is what was checked."""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from queue import SimpleQueue
from typing import Any

import pytest

from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.front.cli.report import Report
from sundog.image.layer import blob_check
from sundog.image.registry import filling
from sundog.image.registry.filling import Filling
from sundog.image.registry.lazy_layer import LazyLayer
from sundog.image.registry.session import Session
from tests.conftest import until
from tests.image.registry.servers import part_of
from tests.image.registry.test_lazy_images import Lazy, lazy, made

__all__ = ["lazy", "made"]

pytestmark = pytest.mark.usefixtures("fuse")

_Answer = tuple[int, dict[str, str], bytes]
PATIENCE = 120  # seconds: a disk may be busy
RANGE = 64  # blocks that are asked for at once: 1 MiB, more than a check reads at once
HELD = range(RANGE * LAZY_BLOCK, 2 * RANGE * LAZY_BLOCK)  # of each blob: parts there come last


class Coming:
    """The layers of an image of which only the tables are here.

    ``changed`` may change what the registry sends.  ``read`` has what each check has read.
    """

    def __init__(self, lazy: Lazy, monkeypatch: pytest.MonkeyPatch) -> None:
        lazy.image("pull", "--lazy", lazy.name)
        lazy.registry.part = self._part
        self.changed: Callable[[int, bytes], bytes] = lambda _start, data: data
        self.ends: SimpleQueue[Exception | None] = SimpleQueue()
        self.told: list[str] = []
        self.read: dict[int, int] = {}
        self.goes_on = threading.Event()
        self._count_reads(monkeypatch)
        monkeypatch.setattr(filling, "_RANGE", RANGE)
        session = Session(os.environ, Report())
        self.places = [path.parent for path in lazy.storage.glob("layers/*/here")]
        self.layers = [LazyLayer(os.fsencode(place), session) for place in self.places]
        for layer in self.layers:  # all wait for the first answer, so it is none of HELD
            with closing(layer.ranges.open(0, 1, 0)) as part:
                part.read(1)
        self.filling = Filling(self, fills=True)
        for number, layer in enumerate(self.layers):
            self.filling.add(number, layer)

    def _part(self, content: bytes, start: int, end: int) -> _Answer:
        if start in HELD:
            assert self.goes_on.wait(2 * PATIENCE)
        status, headers, data = part_of(content, start, end)
        return status, headers, self.changed(start, data)

    def _count_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        coming = vars(blob_check)["_Coming"]
        read = coming.read

        def counted(blob: Any, size: int, /) -> bytes:
            data: bytes = read(blob, size)
            self.read[id(blob)] = self.read.get(id(blob), 0) + len(data)
            return data

        monkeypatch.setattr(coming, "read", counted)

    def check_is_here(self, lazy: Lazy) -> None:
        """Wait for the end; compare the files with the blobs."""
        self.goes_on.set()
        assert [self.ends.get(timeout=PATIENCE) for _ in self.layers] == [None, None]
        for layer, place in zip(self.layers, self.places, strict=True):
            blob = lazy.registry.blobs["r", str(layer.source.descriptor.digest)]
            assert (place / "file").read_bytes() == blob
        assert not lazy.incomplete

    def arrived(self, layer: int, blocks: range, kept: bytes | None) -> None:
        """See ``Listener``."""

    def lost(self, layer: int, block: int) -> None:
        """See ``Listener``."""

    def tell(self, text: str) -> None:
        """See ``Listener``."""
        self.told.append(text)

    def advance(self, size: int) -> None:
        """See ``Listener``."""

    def ended(self, layer: int, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """See ``Listener``."""
        self.ends.put(error)


@pytest.fixture
def coming(lazy: Lazy, monkeypatch: pytest.MonkeyPatch) -> Generator[Coming]:
    coming = Coming(lazy, monkeypatch)
    yield coming
    coming.goes_on.set()
    coming.filling.stop()
    for layer in coming.layers:
        layer.close()


def both_were_read(coming: Coming) -> bool:
    """Tell whether checks of both layers have read most of what is in front of HELD."""
    return sum(size > HELD.start // 3 for size in [*coming.read.values()]) == 2


def test_checks_follow_what_comes(lazy: Lazy, coming: Coming) -> None:
    until(lambda: both_were_read(coming), seconds=PATIENCE)
    assert max(coming.read.values()) <= HELD.start
    assert coming.ends.empty()
    coming.check_is_here(lazy)
    assert coming.told == []


def test_what_replaces_checked_bytes_is_checked(lazy: Lazy, coming: Coming) -> None:
    """A reader has discarded a block that a check has read; what comes then is damaged."""
    until(lambda: both_were_read(coming), seconds=PATIENCE)
    wrong: list[int] = [1]

    def changed(start: int, data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if start == 0 and wrong and wrong.pop() else data

    coming.changed = changed
    coming.filling.discard(0, range(1))
    until(lambda: not wrong and coming.layers[0].here.has(0))
    coming.check_is_here(lazy)
    (told,) = coming.told
    assert "content has digest" in told


def test_a_check_ends_with_its_process(coming: Coming) -> None:
    until(lambda: both_were_read(coming), seconds=PATIENCE)
    stopping = threading.Thread(target=coming.filling.stop)
    stopping.start()
    until(lambda: vars(coming.filling)["_is_over"])
    coming.goes_on.set()  # a thread that waits for a registry ends after its answer
    stopping.join(60)
    assert not stopping.is_alive()
    assert coming.ends.empty()
