"""Chunks that a thread reads ahead: the same bytes and errors, and no thread remains."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

import pytest

from sundog.errors import ArchiveError
from sundog.image.layer.chunks import _CHUNK, Chunks, ChunksAhead

if TYPE_CHECKING:
    from typing import BinaryIO

MANY = 20  # more than the thread reads ahead


class Stream(io.RawIOBase):
    """A stream that gives one of ``chunks`` a read, or a part of it; exceptions are raised."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = list(chunks)
        self.reads = 0

    def read(self, size: int = -1, /) -> bytes:
        self.reads += 1
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        if 0 <= size < len(chunk):
            self.chunks.insert(0, chunk[size:])
            chunk = chunk[:size]
        return chunk


def binary(stream: io.RawIOBase) -> BinaryIO:
    return cast("BinaryIO", stream)


@pytest.mark.parametrize("count", [0, 1, MANY])
def test_the_same_bytes_and_digest(count: int) -> None:
    pieces = [bytes([number]) * _CHUNK for number in range(count)]
    plain = Chunks(binary(Stream(*pieces)))
    with ChunksAhead(binary(Stream(*pieces))) as ahead:
        for piece in pieces:
            assert plain.take() == piece
            assert ahead.take() == piece
        assert plain.take() == ahead.take() == b""
        assert ahead.take() == b"", "the end stays the end"
    whole = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert plain.digest == ahead.digest == f"sha256:{whole}"


def test_what_comes_in_small_pieces_is_taken_together() -> None:
    pieces = [b"%d" % number * 1000 for number in range(1000)]
    with ChunksAhead(binary(Stream(*pieces))) as ahead:
        taken = list(iter(ahead.take, b""))
    assert b"".join(taken) == b"".join(pieces)
    assert [len(each) for each in taken[:-1]] == [_CHUNK] * (len(taken) - 1)


@pytest.mark.parametrize("chunks", [Chunks, ChunksAhead])
def test_an_error_comes_after_what_was_before_it_and_again(chunks: type[Chunks]) -> None:
    taking = chunks(binary(Stream(b"a", b"b", ArchiveError("damaged"))))
    with taking if isinstance(taking, ChunksAhead) else nullcontext():
        assert taking.take() == b"ab"
        for _ in range(2):
            with pytest.raises(ArchiveError, match="damaged"):
                taking.take()


def test_it_is_only_a_few_chunks_ahead_and_leaves_no_thread() -> None:
    stream, before = Stream(*[bytes(_CHUNK)] * MANY), threading.active_count()
    with ChunksAhead(binary(stream)) as ahead:
        assert ahead.take() == bytes(_CHUNK)
    assert stream.reads < MANY
    assert threading.active_count() == before


def test_leaving_waits_for_one_read_not_for_a_chunk() -> None:
    """What comes may come slowly, or never end."""
    begun, goes_on = threading.Event(), threading.Event()

    class Slow(Stream):
        def read(self, _size: int = -1, /) -> bytes:
            self.reads += 1
            begun.set()
            goes_on.wait()
            return b"a"

    stream = Slow()
    with ChunksAhead(binary(stream)) as ahead:
        begun.wait()
        leaving = threading.Thread(target=ahead.__exit__)
        leaving.start()
        while not ahead._is_left:
            leaving.join(0.01)
        goes_on.set()
        leaving.join()
    assert stream.reads == 1


def test_where_no_thread_can_be_started() -> None:
    """RLIMIT_NPROC counts threads; root is exempt from it, so this is another process."""
    program = """
import io, os, resource, sys
from sundog.image.layer.chunks import ChunksAhead
if os.geteuid() == 0:
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
with ChunksAhead(io.BytesIO(b"abc")) as ahead:
    print(ahead._thread, ahead.take(), ahead.take(), ahead.digest)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (done.stdout, done.stderr) == (f"None b'abc' b'' sha256:{digest}\n", "")
