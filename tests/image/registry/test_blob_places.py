"""Places of a blob that fail, or want to be left alone: which of them is asked, and when."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sundog.errors import ProtocolError, RateLimitError, RegistryError
from sundog.front.cli.report import Report
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.registry import blob_ranges
from sundog.image.registry.blob_ranges import BlobPlace, BlobRanges
from sundog.image.registry.config import Endpoint
from sundog.image.registry.session import Session
from tests.image.registry.servers import CutOff, InProcessRegistry, Refuse, part_of
from tests.image.registry.test_lazy import refused

if TYPE_CHECKING:
    from collections.abc import Generator

BLOB = bytes(range(100))
DIGEST = Digest.of(BLOB)
LIMIT = Refuse(429, Retry_After="30")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time on the clock, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(blob_ranges, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def registries() -> Generator[list[InProcessRegistry]]:
    """Return two registries that have the blob."""
    with InProcessRegistry().serve() as one, InProcessRegistry().serve() as other:
        for registry in (one, other):
            registry.blobs["r", str(DIGEST)] = BLOB
            registry.part = part_of
        yield [one, other]


def ranges(*registries: InProcessRegistry) -> BlobRanges:
    """Return the blob, as these registries have it."""
    session = Session(os.environ, Report(), attempts=1)
    places = [BlobPlace(session.client(Endpoint(each.host, "r"))) for each in registries]
    return BlobRanges(Descriptor("application/x", DIGEST, len(BLOB)), places)


def read(blob: BlobRanges, attempt: int = 0, failures: int = 0) -> bytes:
    part = blob.open(10, 20, attempt, failures)
    try:
        return part.read(10)
    finally:
        part.close()


def asked(*registries: InProcessRegistry) -> list[int]:
    """Return how often each was asked for the blob."""
    return [registry.count("GET .*/blobs/.*") for registry in registries]


def test_who_wants_to_be_left_alone_is(
    clock: list[float], registries: list[InProcessRegistry]
) -> None:
    """Also if there is nobody else, and whichever attempt it is."""
    registry, _ = registries
    registry.after = refused(LIMIT)
    blob = ranges(registry)
    for seconds in (0, 1, 29):
        clock[0] = 1000.0 + seconds
        with pytest.raises(RateLimitError, match="again in 30 s"):
            read(blob, seconds)
    assert asked(registry) == [1]
    clock[0] = 1030.0
    assert read(blob) == BLOB[10:20]
    assert asked(registry) == [2]


def test_who_sends_no_parts_and_wants_to_be_left_alone(
    clock: list[float], registries: list[InProcessRegistry]
) -> None:
    registry, _ = registries
    registry.part = None  # it sends all
    blob = ranges(registry)
    with pytest.raises(ProtocolError, match="sends all of it"):
        read(blob)
    registry.after = refused(LIMIT)
    for seconds in (0, 29):
        clock[0] = 1000.0 + seconds
        with pytest.raises(RateLimitError):
            blob.open_whole(0)
    assert asked(registry) == [2]
    clock[0] = 1030.0
    part = blob.open_whole(0)
    assert part.read(len(BLOB)) == BLOB
    part.close()


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(LIMIT, 30), (Refuse(429), 5), (Refuse(503), 5), (CutOff(), 5)],
    ids=["limit", "429", "503", "cut"],
)
def test_another_one_is_asked_meanwhile(
    *,
    clock: list[float],
    registries: list[InProcessRegistry],
    error: Exception,
    seconds: int,
) -> None:
    registries[0].after = refused(error)
    blob = ranges(*registries)
    with pytest.raises(RegistryError):
        read(blob)
    for later in (0, seconds - 1):
        clock[0] = 1000.0 + later
        assert read(blob) == BLOB[10:20]
    assert asked(*registries) == [1, 2]
    clock[0] = 1000.0 + seconds
    assert read(blob) == BLOB[10:20]
    assert asked(*registries) == [2, 2]


def test_it_rests_longer_after_each_failure(
    clock: list[float], registries: list[InProcessRegistry]
) -> None:
    """A connection to a machine that is not there may fail late."""
    first, second = registries
    first.after = refused(*[Refuse(503)] * 6)
    blob = ranges(first, second)
    for seconds in (5, 10, 20, 40, 60, 60):
        with pytest.raises(RegistryError):
            read(blob)
        clock[0] += seconds - 1
        assert read(blob) == BLOB[10:20]
        clock[0] += 1
    assert asked(first, second) == [6, 6]
    assert read(blob) == BLOB[10:20]
    first.after = refused(Refuse(503))
    with pytest.raises(RegistryError):
        read(blob)
    clock[0] += 5
    assert read(blob) == BLOB[10:20]
    assert asked(first, second) == [9, 6]


def test_the_only_one_is_asked_again_at_once(
    clock: list[float], registries: list[InProcessRegistry]
) -> None:
    """A reader waits for it; ``filling`` makes the pauses."""
    assert clock == [1000.0]
    registry, _ = registries
    registry.after = refused(Refuse(503))
    blob = ranges(registry)
    with pytest.raises(RegistryError):
        read(blob)
    assert read(blob) == BLOB[10:20]
    assert asked(registry) == [2]


def test_wrong_bytes_are_not_asked_for_again_while_another_one_rests(
    clock: list[float], registries: list[InProcessRegistry]
) -> None:
    """Else each place would count as one that has sent wrong bytes, and the reader got EIO."""
    first, second = registries
    second.after = refused(LIMIT)
    blob = ranges(first, second)
    for failures in range(4):
        with pytest.raises(RateLimitError):
            read(blob, 1, failures)
    assert asked(first, second) == [0, 1]
    clock[0] += 30
    assert read(blob, 1, 1) == BLOB[10:20]
    assert asked(first, second) == [0, 2]
    second.part = None  # it sends all: then the first one is better than nobody
    assert read(blob, 1) == BLOB[10:20]
    assert asked(first, second) == [1, 3]
