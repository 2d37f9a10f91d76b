"""A record of what a start reads of an image that is not here: that comes first the next time."""

import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from sundog.base.record.start_record import (
    RECORDED_BLOCKS,
    STARTS_LIMIT,
    pack_start,
    read_start,
    unpack_start,
)
from sundog.runtime.fuse.blob import FileBlob
from sundog.runtime.fuse.read_order import ReadOrder, joined_runs
from tests.conftest import runner, until
from tests.image.convert.blobs import chunked
from tests.image.registry.layer_servers import end, serving, subreaper  # noqa: F401 - a fixture
from tests.image.registry.many_files import SIZE, many_files
from tests.image.registry.servers import InProcessRegistry
from tests.image.registry.test_lazy_images import Lazy, publish, started

pytestmark = pytest.mark.usefixtures("fuse", "subreaper")

READ = [f"/f{number:02}" for number in range(1, 40) if number % 5]
LITTLE = 3 << 20  # bytes, of 15 MB: the program, a file, and what a wrong record may add


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> InProcessRegistry:
    """Return a registry that has an image of a few programs and many files."""
    place = tmp_path_factory.mktemp("recorded")
    tar = many_files(place, busybox_tar)
    registry = InProcessRegistry()
    blobs = [(layer, path.read_bytes()) for layer, path in chunked(place, [tar])]
    publish(registry, "latest", [tar], blobs)
    return registry


@pytest.fixture
def lazy(
    made: InProcessRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Lazy]:
    monkeypatch.setenv("CH_RUN_LAZY", "ondemand")
    with made.serve():
        lazy = Lazy(made, tmp_path / "storage")
        lazy.image("pull", "--lazy", lazy.name)
        yield lazy


def ran(lazy: Lazy, *words: str) -> str:
    """Run a command in the image, until its server has written the record, too."""
    printed = lazy.run(*words)
    end()
    return printed


def test_what_was_read_comes_first(lazy: Lazy) -> None:
    assert len(lazy.registry.requests) == 3  # manifest, configuration, table of contents
    lazy.sent.clear()
    printed = ran(lazy, "sha256sum", *READ)
    first, moved = len(lazy.sent), lazy.moved
    assert len(READ) / 2 < first <= len(READ) + 1  # a file comes whole, as does the program
    assert moved < 1.2 * (len(READ) * SIZE + (1 << 20))
    (record,) = lazy.storage.glob("starts/*")
    lazy.again()
    assert ran(lazy, "sha256sum", *READ) == printed
    assert len(lazy.sent) <= 3
    assert lazy.moved <= 1.3 * moved
    inode = record.stat().st_ino
    assert [*lazy.storage.glob("starts/*")] == [record]
    # Another command has another record, and the first one no effect on it.
    lazy.again()
    ran(lazy, "sha256sum", READ[0])
    assert lazy.moved < LITTLE / 2
    assert len([*lazy.storage.glob("starts/*")]) == 2
    assert record.stat().st_ino == inode
    lazy.image("reset")
    assert not [*lazy.storage.glob("starts/*")]


def test_all_comes_though_a_part_came_first(lazy: Lazy, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("sh", "-c", f"sha256sum {' '.join(READ)}; read line; :")
    printed = ran(lazy, *words)
    lazy.again()
    monkeypatch.setenv("CH_RUN_LAZY", "yes")
    with started(lazy, *words) as process:  # what ends earlier may ask for bytes that do not come
        until(lambda: not lazy.incomplete, "it comes")
        assert printed in process.communicate("\n", timeout=60)[0]
    blob = max(lazy.registry.blobs.values(), key=len)
    assert lazy.moved <= len(blob) + 200_000  # each byte once, and the table


def test_a_file(lazy: Lazy, tmp_path: Path) -> None:
    run, record = runner("ch-run", lazy.storage), tmp_path / "record"
    words = (lazy.name, "--", "sha256sum", *READ)
    printed = run(f"--record={record}", *words).stdout
    end()
    assert not [*lazy.storage.glob("starts/*")]
    other = Lazy(lazy.registry, tmp_path / "other")
    other.image("pull", "--lazy", other.name)
    other.sent.clear()
    run = runner("ch-run", other.storage)
    done = run(f"--record={record}", lazy.name, "--", "sha256sum", READ[0], READ[-1])
    assert {*done.stdout.splitlines()} < {*printed.splitlines()}
    end()
    assert len(other.sent) < len(READ)
    assert other.moved > len(READ) * SIZE  # the record says so
    # What is here is recorded, too.
    before = record.read_bytes()
    record.unlink()
    other.image("pull", other.name)
    assert run(f"--record={record}", *words).stdout == printed
    end()
    assert {*unpack_start(before)} == {*unpack_start(record.read_bytes())}
    record.unlink()
    run("--dry-run", f"--record={record}", *words)
    assert not record.exists()


def test_a_file_that_can_not_be(lazy: Lazy, tmp_path: Path, busybox_tar: Path) -> None:
    run = runner("ch-run", lazy.storage)

    def refusal(word: str, name: str = lazy.name) -> list[str]:
        done = run(f"--record={word}", name, "--", "true", check=False)
        assert done.returncode == 31
        return [line.partition("]: ")[2] or line for line in done.stderr.splitlines()]

    assert "--record: FILE must have non-zero length" in refusal("")[0]
    assert f"can't write {tmp_path}" in refusal(str(tmp_path))[0]
    assert "No such file or directory" in refusal(f"{tmp_path}/no/record")[0]
    lazy.image("import", busybox_tar, "plain")
    error, hint = refusal("record", "plain")
    assert error.endswith(
        "--record: no layer of plain came by pull --lazy: there is nothing to record"
    )
    assert hint.endswith("hint: see: ch-image pull --lazy plain")
    (tmp_path / "closed").mkdir(mode=0o555)
    if os.geteuid():
        assert "can't write" in refusal(f"{tmp_path}/closed/record")[0]


def as_it_is(text: str) -> Callable[[Path, bytes], None]:
    def write(record: Path, layer: bytes) -> None:
        record.write_bytes(text.encode().replace(b"LAYER", layer))

    return write


def fifo(record: Path, _: bytes) -> None:
    record.unlink()
    os.mkfifo(record)


def link(record: Path, _: bytes) -> None:
    record.rename(record.with_name("other"))
    record.symlink_to("other")


WRONG = {
    "empty": as_it_is(""),
    "another format": as_it_is("sundog start 9\nLAYER 1\n"),
    "too much": as_it_is("sundog start 1\nLAYER 0-99999999\n"),
    "behind the end": as_it_is("sundog start 1\nLAYER 4294967296 9999999999 70-90\n"),
    "backwards": as_it_is("sundog start 1\nLAYER 9-3\n"),
    "no numbers": as_it_is("sundog start 1\nLAYER -1 x \0\n\n\n"),
    "another layer": as_it_is("sundog start 1\n" + "0" * 32 + " 1-5\n"),
    "large": as_it_is("sundog start 1\nLAYER" + " 1" * 200_000 + "\n"),
    "FIFO": fifo,
    "link": link,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_record(lazy: Lazy, wrong: str) -> None:
    printed = ran(lazy, "sha256sum", READ[0])
    (record,) = lazy.storage.glob("starts/*")
    right = unpack_start(record.read_bytes())
    (layer,) = right
    WRONG[wrong](record, layer)
    lazy.again()
    assert ran(lazy, "sha256sum", READ[0]) == printed
    assert lazy.moved < LITTLE
    # It has a right one now.
    assert not record.is_symlink()
    assert {*unpack_start(record.read_bytes())[layer]} == {*right[layer]}


def test_a_bounded_number(lazy: Lazy) -> None:
    (lazy.storage / "starts").mkdir()
    for number in range(STARTS_LIMIT + 5):
        (lazy.storage / f"starts/{number}").touch()
        os.utime(lazy.storage / f"starts/{number}", (number, number))
    ran(lazy, "sha256sum", READ[0])
    left = {path.name for path in lazy.storage.glob("starts/*")}
    assert len(left) == STARTS_LIMIT
    assert not left & {*map(str, range(6))}
    assert str(STARTS_LIMIT + 4) in left


def test_a_storage_that_takes_no_record(lazy: Lazy) -> None:
    (lazy.storage / "starts").touch()
    assert ran(lazy, "cat", READ[0])


def test_it_is_written_before_the_end(lazy: Lazy) -> None:
    """A batch system may kill the server, too."""
    with started(lazy, "sh", "-c", f"cat {READ[0]} >/dev/null; read line") as process:
        until(lambda: [*lazy.storage.glob("starts/*")])
        for server in serving("sundog-fuse"):
            os.kill(server, signal.SIGKILL)
        process.communicate("\n", timeout=60)


def test_no_container_can_write_it(lazy: Lazy) -> None:
    run = runner("ch-run", lazy.storage)
    ran(lazy, "cat", READ[0])
    place = lazy.storage / "starts"
    done = run("-b", str(lazy.storage.parent), lazy.name, "--", "ls", str(place), check=False)
    assert done.returncode != 0
    assert "No such file" in done.stderr


def test_a_directory_that_is_replaced(lazy: Lazy, tmp_path: Path) -> None:
    """The record is where --record said it at the start, whatever a container does."""
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    script = f"mv {own} {tmp_path}/moved; ln -s {other} {own}; cat {READ[0]} >/dev/null"
    run = runner("ch-run", lazy.storage)
    words = ("-b", f"{tmp_path}:{tmp_path}", lazy.name, "--", "sh", "-c", script)
    run(f"--record={own}/record", *words)
    end()
    assert os.listdir(other) == []
    assert os.listdir(tmp_path / "moved") == ["record"]


def test_texts() -> None:
    read = {b"a" * 32: [5, 6, 7, 1, 9, 10], b"b" * 32: [0]}
    data = pack_start(read)
    assert data.splitlines()[1:] == [b"a" * 32 + b" 5-7 1 9-10", b"b" * 32 + b" 0"]
    assert unpack_start(data) == read
    assert unpack_start(data[:-1]) == {b"a" * 32: read[b"a" * 32]}  # cut
    assert unpack_start(b"") == {}


def test_the_largest_record(tmp_path: Path) -> None:
    """Blocks far away, all of them apart."""
    blocks = [9_999_999_999 - 2 * number for number in range(RECORDED_BLOCKS)]
    (tmp_path / "r").write_bytes(pack_start({b"a" * 32: blocks}))
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    assert read_start(directory, b"r") == {b"a" * 32: blocks}
    (tmp_path / "r").write_bytes(pack_start({b"a" * 32: [*blocks, 0]}))
    assert read_start(directory, b"r") == {}
    os.close(directory)


def test_near_blocks_are_one_run() -> None:
    assert joined_runs([]) == []
    assert joined_runs([90, 2, 3, 20, 140]) == [range(90, 91), range(2, 21), range(140, 141)]
    long = joined_runs(range(1600))
    assert [run.start for run in long] == [0, 512, 1024, 1536]
    assert long[-1].stop == 1600


def test_a_fifo_in_the_way_of_a_record(tmp_path: Path) -> None:
    """A container that has the directory bound can make one."""
    (tmp_path / "blob").write_bytes(b"x" * 8)
    os.mkfifo(tmp_path / f"r.{os.getpid()}.new")
    blob = os.open(tmp_path / "blob", os.O_RDONLY)
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    order = ReadOrder(directory, b"r", is_kept=False)
    order.noted(b"layer", FileBlob(blob)).read(0, 8)
    order.save()
    assert unpack_start((tmp_path / "r").read_bytes()) == {b"layer": [0]}
    os.close(blob)
    os.close(directory)
