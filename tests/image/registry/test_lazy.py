"""Layers that are not all here: what a reader gets, from whom, and how often a byte is fetched."""

import hashlib
import os
import posix
import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from sundog.base.record.lazy_layer import LAZY_BLOCK, HereMap
from sundog.errors import RateLimitError
from sundog.front.cli.report import Report
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.registry import filling as filling_room
from sundog.image.registry.filling import Filling
from sundog.image.registry.lazy_layer import LazyLayer
from sundog.image.registry.lazy_source import LazySource
from sundog.image.registry.session import Session
from sundog.runtime.fuse import fetcher_process, layer_fetcher
from sundog.runtime.fuse.layer_fetcher import LayerFetcher
from sundog.runtime.fuse.lazy_blob import LazyBlob
from tests.conftest import until
from tests.image.registry.servers import CutAfter, CutOff, InProcessRegistry, Refuse, part_of

BLOCKS = 10
SIZE = BLOCKS * LAZY_BLOCK - 12345
CONTENT = random.Random(5).randbytes(SIZE)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Layer:
    """A layer in a registry, of which nothing is here."""

    def __init__(self, place: Path, registry: InProcessRegistry) -> None:
        self.place = place
        self.registry = registry
        self.sent: list[tuple[int, int]] = []
        self.fetchers: list[LayerFetcher] = []
        registry.blobs["r", DIGEST] = CONTENT
        registry.part = self.part
        place.mkdir()
        descriptor = Descriptor("application/x", Digest.parse(DIGEST), SIZE)
        source = LazySource(f"{registry.host}/r:latest", descriptor, DIGEST)
        (place / "source").write_bytes(source.pack())
        (place / "here").touch()
        with open(place / "file", "wb") as file:
            file.truncate(SIZE)

    def part(self, content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        self.sent.append((start, end))
        return part_of(content, start, end)

    def open(self) -> LazyBlob:
        directory = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        fetcher = LayerFetcher()
        self.fetchers.append(fetcher)
        return LazyBlob(directory, fetcher)

    @property
    def is_all_here(self) -> bool:
        """It was checked, too: it is no layer."""
        return (self.place / "refused").exists()


@pytest.fixture
def registry() -> Generator[InProcessRegistry]:
    with InProcessRegistry().serve() as serving:
        yield serving


@pytest.fixture
def layer(tmp_path: Path, registry: InProcessRegistry, processes: list[int]) -> Generator[Layer]:
    layer = Layer(tmp_path / "layer", registry)
    yield layer
    for fetcher in layer.fetchers:
        vars(fetcher)["_start"] = lambda: None  # it starts no other process
    for process in processes:
        with suppress(ProcessLookupError):  # it has ended, and was waited for
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the processes that fetch."""
    found: list[int] = []
    spawn = vars(fetcher_process)["spawn_sibling"]

    def noted(*arguments: object) -> int:
        found.append(spawn(*arguments))
        return found[-1]

    monkeypatch.setattr(fetcher_process, "spawn_sibling", noted)
    environment = posix.environ.copy()
    for room in (layer_fetcher, fetcher_process):
        monkeypatch.setattr(room, "environ", environment)
    return found


@pytest.fixture
def on_demand(processes: list[int]) -> None:
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY"] = b"ondemand"


def test_all_comes_once(layer: Layer) -> None:
    blobs = [layer.open(), layer.open()]  # two processes fetch
    wanted = [(0, 10), (5 * LAZY_BLOCK - 3, 10), (SIZE - 5, 5), (7 * LAZY_BLOCK, 2 * LAZY_BLOCK)]
    for offset, size in wanted:
        for blob in blobs:
            assert blob.read(offset, size) == CONTENT[offset : offset + size]
    until(lambda: layer.is_all_here, "it comes")
    assert (layer.place / "file").read_bytes() == CONTENT
    assert sorted(byte for part in layer.sent for byte in range(*part, LAZY_BLOCK)) == [
        *range(0, SIZE, LAZY_BLOCK)
    ]
    with pytest.raises(OSError, match="no such bytes"):
        blobs[0].read(SIZE - 5, 6)


@pytest.mark.usefixtures("on_demand")
def test_only_what_is_read_comes(layer: Layer) -> None:
    blob = layer.open()
    blob.expect(3 * LAZY_BLOCK - 1, 2)
    assert blob.read(3 * LAZY_BLOCK - 1, 2) == CONTENT[3 * LAZY_BLOCK - 1 :][:2]
    assert sorted(layer.sent) == [(2 * LAZY_BLOCK, 4 * LAZY_BLOCK)]
    assert blob.read(3 * LAZY_BLOCK, 9) == CONTENT[3 * LAZY_BLOCK :][:9]
    assert len(layer.sent) == 1
    # A table may say so.  What is there comes, and nothing else.
    blob.expect(SIZE - 5, 1 << 62)
    assert blob.read(SIZE - 5, 5) == CONTENT[-5:]
    blob.expect(SIZE, 1)
    blob.expect(-5, 5)
    assert len(layer.sent) == 2
    for offset, size in ((SIZE - 5, 6), (SIZE, 1), (-1, 2)):
        with pytest.raises(OSError, match="no such bytes"):
            blob.read(offset, size)


def other_range(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
    return part_of(content, start + 1, end)


def short(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
    status, headers, part = part_of(content, start, end)
    return status, headers, part[:-1]


def longer(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
    return part_of(content + b"x", start, end)


def all_of_it(content: bytes, _start: int, _end: int) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, content


def refused(*errors: Exception) -> Callable[[str], None]:
    left = list(errors)

    def refuse(request: str) -> None:
        if "/blobs/" in request and left:
            raise left.pop()

    return refuse


PASSING: dict[str, Sequence[Exception]] = {
    "down": [CutOff(), CutOff()],
    "5xx": [Refuse(503), Refuse(500)],
    "rate limit": [Refuse(429, Retry_After="1")],
    "cut": [CutAfter(1000)],
}


@pytest.mark.usefixtures("on_demand")
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault(layer: Layer, fault: str) -> None:
    layer.registry.after = refused(*PASSING[fault])
    assert layer.open().read(0, 10) == CONTENT[:10]


@pytest.mark.usefixtures("on_demand")
def test_a_new_token(layer: Layer) -> None:
    layer.registry.token = "first"
    blob = layer.open()
    assert blob.read(0, 10) == CONTENT[:10]
    layer.registry.token = "second"
    assert blob.read(5 * LAZY_BLOCK, 10) == CONTENT[5 * LAZY_BLOCK :][:10]


@pytest.mark.usefixtures("on_demand")
@pytest.mark.parametrize("status", [403, 400])
def test_an_address_that_has_expired(layer: Layer, status: int) -> None:
    registry = layer.registry
    registry.blobs["x", DIGEST] = CONTENT
    there = f"http://127.0.0.1:{registry.host.partition(':')[2]}/v2/x/blobs/{DIGEST}?signed"
    asked: list[int] = []

    def lead(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        asked.append(start)
        return (307, {"Location": there}, b"") if len(asked) == 1 else part_of(content, start, end)

    registry.part = lead
    errors = [Refuse(status)]

    def refuse(request: str) -> None:
        if "?signed" in request and errors:
            raise errors.pop()

    registry.before = refuse
    assert layer.open().read(0, 10) == CONTENT[:10]
    assert errors == []


def another_version(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
    status, headers, part = part_of(content, start, end)
    return status, {**headers, "ETag": f'"{start}"'}, part


ELSE = [other_range, short, longer, all_of_it, another_version]


@pytest.mark.usefixtures("on_demand")
@pytest.mark.parametrize("part", ELSE)
def test_a_place_that_sends_something_else(
    layer: Layer, part: Callable[[bytes, int, int], tuple[int, dict[str, str], bytes]]
) -> None:
    """All of the blob comes in place of its parts."""
    layer.registry.part = part
    blob = layer.open()
    assert blob.read(0, 10) == CONTENT[:10]
    assert blob.read(5 * LAZY_BLOCK, 10) == CONTENT[5 * LAZY_BLOCK :][:10]
    assert [*layer.place.glob("refused")] == []


def test_a_place_that_sends_all_of_something_else(
    layer: Layer, capfd: pytest.CaptureFixture[str]
) -> None:
    layer.registry.part = all_of_it
    layer.registry.blobs["r", DIGEST] = bytes(SIZE)
    layer.open()
    told: list[str] = []

    def has_given_up() -> bool:
        told.append(capfd.readouterr().err)
        return "the rest of the image does not come: " in "".join(told)

    until(has_given_up)
    assert "sends wrong bytes" in "".join(told)
    assert layer.registry.count("GET .*/blobs/.*") < 20  # several threads ask for parts first


# What the first of two mirrors does with each request for a part.
Part = Callable[[bytes, int, int], tuple[int, dict[str, str], bytes]]
FIRST_MIRRORS: dict[str, Part | Exception] = {
    "all of it": all_of_it,
    "another part": other_range,
    "another length": longer,
    "less than it says": short,
    "another version": another_version,
    "wrong bytes": lambda _, start, end: part_of(bytes(SIZE), start, end),
    "nothing": Refuse(404),
    "no access": Refuse(403),
    "an error": Refuse(503),
    "a limit": Refuse(429, Retry_After="3600"),
    "no answer": CutOff(),
}


@pytest.fixture
def mirrors(
    tmp_path: Path, layer: Layer, processes: list[int]
) -> Generator[tuple[InProcessRegistry, InProcessRegistry]]:
    """Return two mirrors of a registry that itself has lost the blob."""
    assert processes == []  # the settings are for those to come
    with InProcessRegistry().serve() as first, InProcessRegistry().serve() as second:
        for mirror in (first, second):
            mirror.blobs["r", DIGEST] = CONTENT
        settings = tmp_path / "registries.conf"
        settings.write_text(
            f"[[registry]]\nlocation = '{layer.registry.host}'\n"
            + "".join(
                f"[[registry.mirror]]\nlocation = '{mirror.host}'\n" for mirror in (first, second)
            )
        )
        del layer.registry.blobs["r", DIGEST]
        vars(layer_fetcher)["environ"][b"CONTAINERS_REGISTRIES_CONF"] = os.fsencode(settings)
        second.part = layer.part
        yield first, second


@pytest.mark.parametrize("fault", FIRST_MIRRORS)
def test_the_second_mirror(
    layer: Layer, mirrors: tuple[InProcessRegistry, InProcessRegistry], fault: str
) -> None:
    """A reader gets right bytes, and then the rest comes, too."""
    first, second = mirrors
    does = FIRST_MIRRORS[fault]
    if isinstance(does, Exception):
        first.after = refused(*[does] * 1000)
    else:
        first.part = does
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY"] = b"ondemand"
    blob = layer.open()
    for offset in (0, SIZE - 10, 5 * LAZY_BLOCK - 5):
        # A server does so, which knows the digest of each chunk.
        while (found := blob.read(offset, 10)) != CONTENT[offset : offset + 10]:
            assert blob.discard(offset, found)
    assert layer.sent  # by the second one, which is asked for parts only
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY"] = b"yes"
    layer.open()
    until(lambda: layer.is_all_here, "it comes")
    assert (layer.place / "file").read_bytes() == CONTENT
    assert second.count("GET .*/blobs/.*") == len(layer.sent)


def test_a_mirror_without_an_address(
    layer: Layer, mirrors: tuple[InProcessRegistry, InProcessRegistry], tmp_path: Path
) -> None:
    """No server of names knows it."""
    first, second = mirrors
    settings = tmp_path / "registries.conf"
    settings.write_text(settings.read_text().replace(first.host, "no-such-host.invalid"))
    blob = layer.open()
    assert blob.read(SIZE - 10, 10) == CONTENT[-10:]
    until(lambda: layer.is_all_here, "it comes")
    assert (layer.place / "file").read_bytes() == CONTENT
    assert second.count("GET .*/blobs/.*") == len(layer.sent)


def test_a_mirror_that_breaks_while_the_rest_comes(
    layer: Layer, mirrors: tuple[InProcessRegistry, InProcessRegistry]
) -> None:
    """The second one goes on where the first one stopped."""
    first, _ = mirrors
    parts: list[tuple[int, int]] = []

    def once(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        parts.append((start, end))
        return part_of(content, start, end) if len(parts) == 1 else all_of_it(content, start, end)

    first.part = once
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY"] = b"ondemand"
    assert layer.open().read(0, 10) == CONTENT[:10]
    assert layer.sent == []
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY"] = b"yes"
    layer.open().expect(SIZE - 1, 1)
    until(lambda: layer.is_all_here, "it comes")
    assert (layer.place / "file").read_bytes() == CONTENT
    assert min(layer.sent)[0] == parts[0][1] == LAZY_BLOCK


@pytest.mark.usefixtures("on_demand")
@pytest.mark.parametrize("is_known", [True, False])
def test_many_blocks_that_need_no_fetch(layer: Layer, is_known: bool) -> None:
    blocks = range(0, 4000, 2)
    size = blocks.stop * LAZY_BLOCK
    descriptor = Descriptor("application/x", Digest.parse(DIGEST), size)
    source = LazySource(f"{layer.registry.host}/r:latest", descriptor, DIGEST).pack()
    (layer.place / "source").write_bytes(source if is_known else b"damaged")
    (layer.place / "here").write_bytes(b"\1" * blocks.stop)
    os.truncate(layer.place / "file", size)
    fetcher = LayerFetcher()
    layer.fetchers.append(fetcher)
    number = fetcher.add(os.open(layer.place, os.O_RDONLY | os.O_DIRECTORY))
    # More wishes and answers than both directions of the channel hold.
    wanting = threading.Thread(target=fetcher.expect, args=(number, blocks), daemon=True)
    wanting.start()
    wanting.join(60)
    assert not wanting.is_alive()
    until(lambda: not vars(fetcher)["_wanted"], "each has its answer")


@pytest.mark.usefixtures("on_demand")
def test_wrong_bytes(layer: Layer) -> None:
    answers = [bytes(SIZE), CONTENT]
    layer.registry.part = lambda _, start, end: part_of(answers.pop(0), start, end)
    blob = layer.open()
    wrong = blob.read(10, 10)
    assert wrong == bytes(10)
    assert blob.discard(10, wrong)
    assert blob.read(10, 10) == CONTENT[10:20]
    assert blob.discard(10, wrong)  # another reader, who comes too late
    assert blob.read(10, 10) == CONTENT[10:20]
    assert answers == []


@pytest.mark.usefixtures("on_demand")
def test_always_wrong_bytes(layer: Layer, capfd: pytest.CaptureFixture[str]) -> None:
    layer.registry.part = lambda _, start, end: part_of(bytes(SIZE), start, end)
    blob = layer.open()
    for _ in range(2):
        assert blob.discard(0, blob.read(0, 10))
    with pytest.raises(OSError, match="can't be had"):
        blob.read(0, 10)
    assert "sends wrong bytes" in capfd.readouterr().err


def test_a_killed_process(layer: Layer, processes: list[int]) -> None:
    gate = threading.Event()

    def late(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        gate.wait(60)
        return layer.part(content, start, end)

    layer.registry.part = late
    blob = layer.open()
    blob.expect(0, 10)
    until(lambda: bool(layer.registry.count("GET .*/blobs/.*")), "it comes")
    os.kill(processes[0], signal.SIGKILL)
    gate.set()
    assert blob.read(0, 10) == CONTENT[:10]
    until(lambda: layer.is_all_here, "it comes")
    assert len(processes) == 2


def test_a_layer_beside_one_that_is_complete(
    layer: Layer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    complete = tmp_path / "complete"
    complete.mkdir()
    (complete / "file").touch()
    fetcher = LayerFetcher()
    layer.fetchers.append(fetcher)
    fetcher.add(os.open(complete, os.O_RDONLY | os.O_DIRECTORY))
    fetcher.add(os.open(layer.place, os.O_RDONLY | os.O_DIRECTORY))
    until(lambda: layer.is_all_here, "it comes, without a reader")
    assert "No such file" not in capfd.readouterr().err


class Arrivals:
    """Takes news of a filling."""

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.errors: list[Exception | None] = []

    def arrived(self, _layer: int, blocks: range, kept: bytes | None) -> None:
        assert kept is None
        self.blocks += blocks

    def lost(self, _layer: int, block: int) -> None: ...

    def tell(self, text: str) -> None: ...

    def advance(self, size: int) -> None: ...

    def ended(self, _layer: int, error: Exception | None) -> None:
        self.errors.append(error)


def test_a_deleted_layer_comes_no_further(layer: Layer) -> None:
    session = Session(os.environ, Report(), verify=True, attempts=1)
    opened = LazyLayer(os.fsencode(layer.place), session)
    shutil.rmtree(layer.place)
    arrivals = Arrivals()
    filling = Filling(arrivals, fills=True)
    filling.add(0, opened)
    filling.want(0, range(3, 4))
    until(lambda: arrivals.blocks == [3], "a reader gets what it reads")
    filling.stop()
    opened.close()
    assert layer.sent == [(3 * LAZY_BLOCK, 4 * LAZY_BLOCK)]
    assert arrivals.errors == []


def test_a_limit_holds_for_all_layers_of_a_registry(layer: Layer, tmp_path: Path) -> None:
    layer.registry.before = refused(Refuse(429, Retry_After="3600"))
    session = Session(os.environ, Report(), verify=True, attempts=1)
    upper = Layer(tmp_path / "upper", layer.registry)
    opened = [LazyLayer(os.fsencode(each.place), session) for each in (layer, upper)]
    for each in opened:
        with pytest.raises(RateLimitError, match="again in 3600 s"):
            each.ranges.open(0, 10)
        each.close()
    assert layer.registry.count("GET .*/blobs/.*") == 1


@pytest.mark.parametrize("reads_in_a_row", [False, True])
def test_a_start_has_the_network_for_itself(
    layer: Layer, monkeypatch: pytest.MonkeyPatch, *, reads_in_a_row: bool
) -> None:
    """The rest begins when readers pause, or when one reads one thing after the other."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep)
    monkeypatch.setattr(filling_room, "time", clock)
    monkeypatch.setattr(filling_room, "_ROW", 2)
    session = Session(os.environ, Report(), verify=True, attempts=1)
    opened = LazyLayer(os.fsencode(layer.place), session)
    arrivals = Arrivals()
    filling = Filling(arrivals, fills=True, start=5.0)
    filling.add(0, opened)
    for wanted in ([9], [9, 0]):
        now[0] += 0.4
        filling.want(0, range(wanted[-1], wanted[-1] + 1))
        until(partial(wanted.__eq__, arrivals.blocks), "a reader gets what it reads")
    assert {start // LAZY_BLOCK for start, _ in layer.sent} == {9, 0}
    if reads_in_a_row:
        filling.want(0, range(1, 3))
        filling.want(0, range(4, 5))
    else:
        now[0] += 0.6
    until(lambda: layer.is_all_here, "the rest comes")
    filling.stop()
    opened.close()
    assert sum(end - start for start, end in layer.sent) == SIZE


def test_a_full_disk(layer: Layer, capfd: pytest.CaptureFixture[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * LAZY_BLOCK, limits[1]))
    try:
        blob = layer.open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    size = 9 * LAZY_BLOCK
    for _ in range(2):
        assert blob.read(5, size) == CONTENT[5:][:size]
    here = HereMap(os.open(layer.place / "here", os.O_RDONLY), SIZE)
    missing = set(here.missing())
    assert missing == {8, 9}  # what is written at once had room in front of them
    assert "the rest of the image does not come: " in capfd.readouterr().err


@pytest.mark.usefixtures("on_demand")
def test_a_full_disk_and_little_memory(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks read last are kept; older ones come again."""
    monkeypatch.setattr(layer_fetcher, "_KEPT_LIMIT", 2 * LAZY_BLOCK)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LAZY_BLOCK, limits[1]))
    try:
        blob = layer.open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = vars(blob.fetcher)["_kept"]
    for block in (1, 2, 2, 1, 3, 4, 3, 1):
        start = block * LAZY_BLOCK
        assert blob.read(start, 10) == CONTENT[start : start + 10]
        assert (0, block) in kept
        assert len(kept) <= 2
    assert [start // LAZY_BLOCK for start, _ in layer.sent] == [1, 2, 3, 4, 1]
    start = LAZY_BLOCK + 5
    size = SIZE - start  # more than is kept
    assert blob.read(start, size) == CONTENT[start:]
    assert len(kept) <= 2


@pytest.mark.usefixtures("on_demand")
def test_nobody_reads_the_messages(layer: Layer) -> None:
    layer.registry.before = refused(*[Refuse(404) for _ in range(1000)])
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY_WAIT"] = b"50"
    reader, writer = os.pipe()
    os.close(reader)
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        blob = layer.open()
        for block in range(5):  # more than there are threads
            with pytest.raises(OSError, match="can't be had"):
                blob.read(block * LAZY_BLOCK, 10)
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.mark.usefixtures("on_demand")
def test_a_reader_does_not_wait_for_ever(layer: Layer, capfd: pytest.CaptureFixture[str]) -> None:
    layer.registry.before = refused(*[CutOff() for _ in range(1000)])
    vars(layer_fetcher)["environ"][b"CH_RUN_LAZY_WAIT"] = b"1"
    blob = layer.open()
    with pytest.raises(OSError, match="does not come"):
        blob.read(0, 10)
    told: list[str] = []

    def has_told() -> bool:
        told.append(capfd.readouterr().err)
        return "\n" in "".join(told)

    until(has_told)
    assert f": waiting for {layer.registry.host}\n" in "".join(told)
