"""Layers in transfer: what the others do when a worker process dies, and what they cost."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sundog.errors import ArchiveError, NotInRegistryError, StoreError
from sundog.image.layer.limits import Limits, Meter
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER_GZIP
from sundog.image.store.store import Store
from sundog.image.store.worker import TreeWorker
from sundog.image.transfer import layers as unpacking
from sundog.image.transfer.layers import RemoteLayer, Unpackers, pull_layers
from tests.image.layer.archives import archive, file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

SIZE = 1000


class Silent:
    """A blob that gives no byte until ``over`` is set; then it ends."""

    host = "registry"

    def __init__(self, over: threading.Event) -> None:
        self.offset = 0
        self._over = over

    def read(self, size: int) -> bytes:  # noqa: ARG002
        self._over.wait()
        return b""

    def close(self) -> None:
        pass


class Quiet:
    """A report, and its transfers, that print nothing."""

    def info(self, text: str) -> None:
        pass

    verbose = warning = info

    def transfer(self, label: str, verb: str, size: int) -> Quiet:  # noqa: ARG002
        return self

    def advance(self, size: int) -> None:
        pass

    def end(self) -> None:
        pass


@pytest.fixture
def over() -> Generator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.timeout(60)
def test_a_worker_that_died_is_not_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: threading.Event
) -> None:
    """The new worker would be forked beside threads, and nothing would end it."""
    started: list[int] = []
    start = TreeWorker.start

    def counted(worker: TreeWorker, get_ready: Callable[[], None] | None = None) -> None:
        start(worker, get_ready)
        started.append(worker._pid)

    monkeypatch.setattr(TreeWorker, "start", counted)
    monkeypatch.setattr(unpacking, "_WORKERS", 1)
    layers = [
        RemoteLayer(
            Descriptor("application/octet-stream", Digest.of(bytes([number])), SIZE),
            f"sha256:{number:064}",
            [lambda _: Silent(over)],
        )
        for number in range(4)
    ]
    with Store.open(str(tmp_path / "store"), driver="copy") as store, Unpackers() as unpackers:
        unpackers.prepare()
        os.kill(started[0], signal.SIGKILL)
        with pytest.raises(StoreError, match="died during unpack_arriving: killed by signal 9"):
            pull_layers(store, layers, unpackers, Quiet())
    assert len(started) == 1


class Served(Silent):
    """A blob whose bytes are all there at once."""

    def __init__(self, content: bytes, offset: int) -> None:
        super().__init__(threading.Event())
        self.offset = offset
        self._rest = content[offset:]

    def read(self, size: int) -> bytes:
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def test_what_is_fetched_once_counts_once(tmp_path: Path) -> None:
    """A manifest may name one blob many times; each time, a worker unpacks a layer anew."""
    # The blob hides a file, so it makes another layer at each place.
    content = archive(file(".wh.gone"), file("zeros", bytes(1 << 20))).getvalue()
    blob = gzip.compress(content)
    diff_id = f"sha256:{hashlib.sha256(content).hexdigest()}"
    descriptor = Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob))
    layer = RemoteLayer(descriptor, diff_id, [lambda offset: Served(blob, offset)])
    ratio = len(content) / len(blob)
    limits = Limits(ratio=ratio + 1, free=1)
    with (
        Store.open(str(tmp_path / "store"), driver="copy") as store,
        Unpackers(Meter(limits, counts_input=False)) as unpackers,
    ):
        pull_layers(store, [layer], unpackers, Quiet())
    limits = replace(limits, ratio=4 * ratio)
    with (
        Store.open(str(tmp_path / "other"), driver="copy") as store,
        Unpackers(Meter(limits, counts_input=False)) as unpackers,
        pytest.raises(ArchiveError, match="it unpacks to over"),
    ):
        pull_layers(store, [layer] * 10, unpackers, Quiet())


def test_too_many_layers(tmp_path: Path) -> None:
    layer = RemoteLayer(Descriptor(OCI_LAYER_GZIP, Digest.of(b""), 0), f"sha256:{1:064}", [])
    with (
        Store.open(str(tmp_path / "store"), driver="copy") as store,
        Unpackers() as unpackers,
        pytest.raises(ArchiveError, match="an image of 1001 layers: more than 1,000"),
    ):
        pull_layers(store, [layer] * 1001, unpackers, Quiet())


def test_no_thread_is_left_where_the_process_goes_on(tmp_path: Path, over: threading.Event) -> None:
    """One layer is gone while the bytes of another do not come: a build forks afterwards."""
    began = threading.Event()
    timer = threading.Timer(2.0, over.set)  # a thread that is not waited for is there until then

    def gone(_: int) -> Silent:
        assert began.wait(60)
        timer.start()
        raise NotInRegistryError("gone")

    def slow(_: int) -> Silent:
        began.set()
        return Silent(over)

    layers = [
        RemoteLayer(
            Descriptor("application/octet-stream", Digest.of(bytes([number])), SIZE),
            f"sha256:{number:064}",
            [source],
        )
        for number, source in enumerate((gone, slow))
    ]
    before = set(threading.enumerate())
    with Store.open(str(tmp_path / "store"), driver="copy") as store, Unpackers() as unpackers:
        with pytest.raises(NotInRegistryError, match="gone"):
            pull_layers(store, layers, unpackers, Quiet(), goes_on=True)
        assert set(threading.enumerate()) <= {*before, timer}
    timer.join()
