"""``store.arrivals``: what a worker makes of a blob whose fetch fails at that moment."""

import os
from pathlib import Path

import pytest

from sundog.errors import ArchiveError
from sundog.store.arrivals import Arrival, ArrivalWorker


def test_a_blob_that_was_given_up(tmp_path: Path) -> None:
    """It is a fault of the blob, and so of less interest than why it was given up."""
    paths = [os.fsencode(tmp_path / name) for name in ("partial", "whole")]
    arrival = Arrival(0, 10, paths)
    worker = ArrivalWorker()
    try:
        arrival.arrived(10)
        with pytest.raises(ArchiveError, match="it was not kept"):
            worker.unpack(arrival, os.fsencode(tmp_path / "draft"))
    finally:
        worker.kill()
        worker.close()
