"""``transfer.arrivals``: a worker that unpacks a blob while the fetch of it fails."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from sundog.base.record.layer_path import LayerPath
from sundog.errors import ArchiveError
from sundog.image.transfer.arrivals import Arrival, ArrivalWorker, CompleteLayers
from tests.image.layer.archives import archive, directory, file, hard_link

MOST = 600  # more than overlayfs stacks: they are joined later


def test_a_blob_that_was_given_up(tmp_path: Path) -> None:
    """The worker blames the blob; the command shows the reason for the end instead."""
    paths = [os.fsencode(tmp_path / name) for name in ("partial", "whole")]
    arrival = Arrival(0, 10, paths)
    worker = ArrivalWorker(CompleteLayers())
    try:
        arrival.arrived(10)
        with pytest.raises(ArchiveError, match="its blob was discarded"):
            worker.unpack(arrival, os.fsencode(tmp_path / "draft"))
    finally:
        worker.kill()
        worker.close()


@pytest.mark.timeout(60)
def test_layers_that_need_none_below_are_told_of_them_all_the_same(tmp_path: Path) -> None:
    """Unread news must not fill the pipe: its writer would wait for ever."""
    blob = archive(directory("."), file("f", b"x")).getvalue()
    path = os.fsencode(tmp_path / "blob")
    Path(os.fsdecode(path)).write_bytes(blob)
    complete = CompleteLayers()
    worker = ArrivalWorker(complete)
    try:
        for number in range(MOST):
            arrival = Arrival(number, len(blob), [path])
            arrival.arrived(len(blob))
            arrival.release(complete.shown)
            draft = os.fsencode(tmp_path / str(number))
            os.mkdir(draft)
            arrived = worker.unpack(arrival, draft)
            assert not arrived.needs_below
            complete.add(LayerPath.of(draft))
        # One that needs a layer below finds it there, and only if it is told so.
        blob = archive(directory("."), hard_link("g", "only")).getvalue()
        Path(os.fsdecode(path)).write_bytes(blob)
        (tmp_path / "5/tree/only").write_text("below\n")
        for start in (5, 6):
            arrival = Arrival(MOST + start, len(blob), [path])
            arrival.arrived(len(blob))
            arrival.release((start, MOST))
            draft = os.fsencode(tmp_path / f"last{start}")
            os.mkdir(draft)
            with nullcontext() if start == 5 else pytest.raises(ArchiveError, match="not there"):
                worker.unpack(arrival, draft)
        assert (tmp_path / "last5/tree/g").read_text() == "below\n"
    finally:
        worker.kill()
        worker.close()
