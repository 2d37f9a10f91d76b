"""A small archive costs little: work grows with the files it makes, which are bounded.

The tests count calls of functions in Python and in C; they measure no time.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tempfile
import zlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.mounts import openat2
from sundog.errors import ArchiveError
from sundog.image.layer import directories
from sundog.image.layer.below import LayerTree
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.limits import UNLIMITED, Limits, Meter, check_layers, current_meter
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.tar import TarReader
from sundog.image.layer.unpack import unpack
from sundog.image.layer.write_tar import write_tar
from tests.image.layer.archives import (
    Entry,
    archive,
    directory,
    file,
    hard_link,
    pax_header,
    raw_archive,
    raw_header,
    symlink,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


SHM = "/dev/shm"
LINEAR = 2.4  # twice as much may cost this many times as much


@pytest.fixture
def place(tmp_path: Path) -> Iterator[bytes]:
    """Return a place in memory if there is one: the tests make thousands of directories."""
    parent = SHM if os.access(SHM, os.W_OK) else tmp_path
    path = os.fsencode(tempfile.mkdtemp(dir=parent))
    yield path
    remove_tree(path)


def calls(work: Callable[[], object]) -> int:
    """Return how many functions ``work`` calls, in Python and in C."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def new_tree(place: bytes) -> bytes:
    path = os.path.join(place, b"tree-%d" % len(os.listdir(place)))
    os.mkdir(path)
    return path


def cost(place: bytes, entries: Iterable[Entry], *below: LayerTree) -> int:
    stream = archive(*entries)
    tree = new_tree(place)
    return calls(lambda: unpack(stream, tree, below=below))


# Linear


def components_opened(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    """Return how many path components ``Directories`` makes the kernel walk."""
    count = 0

    def counted(dirfd: int, path: bytes, flags: int, resolve: int) -> int:
        nonlocal count
        count += path.count(b"/") + 1
        return openat2(dirfd, path, flags, resolve)

    with monkeypatch.context() as patch:
        patch.setattr(directories, "openat2", counted)
        work()
    return count


@pytest.mark.parametrize("last", ["file", "d" * 90], ids=["a file", "a directory"])
def test_one_deep_path(place: bytes, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    make = file if last == "file" else directory
    streams = {depth: archive(make("d/" * depth + last)) for depth in (500, 1000)}
    trees = {depth: new_tree(place) for depth in streams}
    costs = {}
    count = 0

    def work() -> None:
        nonlocal count
        count = calls(unpacking)

    for depth, stream in streams.items():
        unpacking = partial(unpack, stream, trees[depth])
        assert components_opened(monkeypatch, work) < 2 * depth
        costs[depth] = count
    assert costs[1000] < LINEAR * costs[500]
    # The readers of the tree are linear too.
    for depth, tree in trees.items():
        writing = partial(write_tar, io.BytesIO(), tree, {})
        assert components_opened(monkeypatch, writing) < 2 * depth


def test_many_directories_at_the_bottom(place: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "d/" * 500
    entries = [directory(f"{deep}{number}") for number in range(300)]
    tree = new_tree(place)
    count = components_opened(monkeypatch, lambda: unpack(archive(*entries), tree))
    assert count < 10 * (500 + 300)


def test_jumps_between_deep_directories(place: bytes) -> None:
    def more(depth: int) -> int:
        ways = [f"{top}/" + "d/" * depth for top in range(35)]  # too many to keep all open
        base = [file(f"{way}0") for way in ways]
        return cost(place, base + [file(f"{way}1") for way in ways]) - cost(place, base)

    assert more(60) < 1.5 * more(20)


def test_what_is_replaced(place: bytes) -> None:
    def entries(count: int) -> list[Entry]:
        made = [directory(f"other/{number}", uid=7) for number in range(count)]
        for number in range(count):
            made += [directory("d", uid=1), file("d/f", uid=1)]
            made.append(symlink("d", "f") if number % 2 else file("d"))
        return made

    assert cost(place, entries(400)) < LINEAR * cost(place, entries(200))


def test_opaque_directories_and_whiteouts(place: bytes) -> None:
    lower = new_tree(place)
    unpack(archive(file("x/y")), lower)

    def more(depth: int) -> int:
        deep = "d/" * depth
        base = [symlink("l", deep), directory(deep), file("x/.wh..wh..opq")]
        made = []
        for number in range(50):
            made += [file(f"l/.wh.{number}"), directory(f"l/d{number}")]
            made.append(file(f"l/d{number}/.wh..wh..opq"))
        below = LayerTree(lower, {})
        return cost(place, base + made, below) - cost(place, base, below)

    assert more(200) < 1.5 * more(20)


def test_hard_links_into_a_layer_below(place: bytes) -> None:
    def work(count: int) -> int:
        lower = new_tree(place)
        made = []
        for number in range(count):
            made += [file(f"a{number}"), hard_link(f"b{number}", f"a{number}")]
        unpack(archive(*made), lower)
        links = [hard_link(f"c{number}", f"a{number}") for number in range(count)]
        return cost(place, links, LayerTree(lower, {}))

    assert work(200) < LINEAR * work(100)


def test_very_short_members_of_a_compressed_stream() -> None:
    def copied(count: int) -> int:
        one = gzip.compress(b"")
        stream = open_decompressed(io.BytesIO(one * count + gzip.compress(b"end")))
        total = 0

        class Decompressor:
            def __init__(self) -> None:
                self._real = zlib.decompressobj(wbits=31)
                self.needs_input = True

            @property
            def eof(self) -> bool:
                return self._real.eof

            @property
            def unused_data(self) -> bytes:
                return self._real.unused_data

            def decompress(self, data: bytes, _limit: int) -> bytes:
                nonlocal total
                total += len(data)
                return self._real.decompress(data)

        stream._make = Decompressor  # type: ignore[attr-defined]
        stream._member = Decompressor()  # type: ignore[attr-defined]
        assert stream.read() == b"end"
        return total

    assert copied(4000) < LINEAR * copied(2000)
    assert copied(4000) < 4000 * 5000


@pytest.mark.parametrize(
    "press", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"]
)
def test_many_short_members_hold_what_they_held(press: Callable[[bytes], bytes]) -> None:
    parts = [b"%d" % number * (number % 50) for number in range(500)]
    stream = open_decompressed(io.BytesIO(b"".join(map(press, parts))))
    data = b""
    while more := stream.read(1000):
        data += more
    assert data == b"".join(parts)


# Bounded


def refused(place: bytes, stream: io.BytesIO, limits: Limits, **options: object) -> str:
    meter = Meter(limits)
    with pytest.raises(ArchiveError) as caught:
        unpack(
            open_decompressed(stream, meter),
            new_tree(place),
            meter=meter,
            **options,  # type: ignore[arg-type]
        )
    assert "--no-limits" in caught.value.hint
    return caught.value.message


ZEROS = archive(file("zeros", bytes(3 << 20))).getvalue()


@pytest.mark.parametrize(
    "press", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"]
)
def test_ratio(place: bytes, press: Callable[[bytes], bytes]) -> None:
    bomb = press(ZEROS)
    small = Limits(ratio=100, free=1 << 20)
    message = refused(place, io.BytesIO(bomb), small)
    assert "zeros: it unpacks to over 100 times what was fetched" in message
    for limits in (
        replace(small, free=4 << 20),
        replace(small, ratio=len(ZEROS) / len(bomb) + 1),
        UNLIMITED,
        Limits(),
    ):
        meter = Meter(limits)
        unpack(open_decompressed(io.BytesIO(bomb), meter), new_tree(place), meter=meter)
    # An uncompressed archive is as long as the download.
    meter = Meter(small)
    unpack(open_decompressed(io.BytesIO(ZEROS), meter), new_tree(place), meter=meter)


def test_a_bomb_in_a_bomb_counts_once(place: bytes) -> None:
    meter = Meter(Limits(ratio=2000, free=1 << 20))
    inner = gzip.compress(bytes(8 << 20))
    outer = gzip.compress(inner)
    assert open_decompressed(io.BytesIO(outer), meter).read() == inner
    meter.counts_input = False
    with pytest.raises(ArchiveError, match="over 2,000 times"):
        open_decompressed(io.BytesIO(inner), meter).read()


def test_entries(place: bytes) -> None:
    limits = Limits(entries=10)
    unpack(archive(*(file(f"{n}") for n in range(10))), new_tree(place), meter=Meter(limits))
    for entries in (
        [file(f"{number}") for number in range(11)],
        [file("d/" * 10 + "taken-for-granted")],
        [file(f".wh.{number}") for number in range(11)],
        [file("f"), *(hard_link(f"{number}", "f") for number in range(11))],
        [Entry(f"{number}", "p") for number in range(11)],
        [file("one")] * 11,
    ):
        assert "more than 10 entries" in refused(place, archive(*entries), limits)


def test_names_and_attributes(place: bytes) -> None:
    limits = Limits(text=1000)
    for entries in (
        [file("n" * 200 + f"{number}") for number in range(6)],
        [file("d/" * 100)],
        [file("f", pax={"SCHILY.xattr.user.a": "v" * 1000})],
    ):
        message = refused(place, archive(*entries), limits)
        assert "its names and attributes take more than 1,000 bytes" in message


def test_symlinks_that_cost_much(place: bytes) -> None:
    # Each replaced directory makes the reader forget all symlinks.
    entries = [directory("d/" * 100), symlink("l", "d/" * 100)]
    for number in range(100):
        entries += [directory("r"), file("r"), file(f"l/{number}")]
    message = refused(place, archive(*entries), Limits(steps=20_000))
    assert "its paths take too long to follow" in message
    unpack(archive(*entries), new_tree(place), meter=Meter(Limits(steps=200_000)))


def test_what_is_copied_up_counts(place: bytes) -> None:
    lower = new_tree(place)
    unpack(archive(file("d/f", b"x" * (1 << 20))), lower)
    entries = []
    for number in range(5):
        entries += [hard_link(f"{number}", "d/f"), file("d"), directory("d")]
    limits = Limits(free=3 << 20, ratio=2)
    message = refused(place, archive(*entries), limits, below=[LayerTree(lower, {})])
    assert "it unpacks to over 2 times" in message


def test_too_many_layers() -> None:
    check_layers(1000)
    with pytest.raises(ArchiveError, match="an image of 1001 layers: more than 1,000"):
        check_layers(1001)


def test_processes_count_together() -> None:
    meter = Meter(Limits(entries=30))
    for slot in (1, 2, 3):
        with meter.shared(slot):
            child = os.fork()
            if not child:
                own = current_meter()
                for _ in range(10):
                    own.entry()
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(ArchiveError, match="more than 30 entries"):
        meter.entry()


# Headers before members


def test_global_headers_are_bounded() -> None:
    def read(*parts: bytes) -> None:
        for _ in TarReader(raw_archive(*parts, raw_header(b"f"))):
            pass

    def header(number: int, size: int = 1) -> bytes:
        return pax_header((b"key%d" % number, b"v" * size), typeflag=b"g")

    read(*(header(number % 100) for number in range(200)))
    for parts in (
        [header(number) for number in range(101)],
        [header(number, 1000) for number in range(70)],
        [header(1, 70_000)],
    ):
        with pytest.raises(ArchiveError, match="its global headers hold too much"):
            read(*parts)


@pytest.mark.parametrize("typeflag", [b"x", b"g", b"L", b"V"])
def test_headers_without_end_before_a_member(typeflag: bytes) -> None:
    one = pax_header((b"comment", b"v" * 10_000), typeflag=typeflag)
    with pytest.raises(ArchiveError, match="an extended header is too long"):
        for _ in TarReader(raw_archive(*[one] * 110, raw_header(b"f"))):
            pass
