"""Readers of a layer whose contents do not come: who may end them, and when.

A killed reader ends within 0.1 s, but for what a loaded machine takes to run the server.  So the
tests count how often the server waits before it answers, and for how long it asks to wait.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sundog.base.cpython import start_new_thread
from sundog.base.kernel.modes import S_IFDIR, S_IFREG
from sundog.base.kernel.mounts import AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH, move_mount
from sundog.base.record.layer_index import IndexEntry, IndexWriter
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.fuse import concurrent, layer_files
from sundog.runtime.fuse.concurrent import ConcurrentService
from sundog.runtime.fuse.device import mount_fuse
from sundog.runtime.fuse.layer_files import LayersFiles
from sundog.runtime.fuse.waiting import about_to_wait
from sundog.runtime.process.child import Child
from tests.conftest import until

SIZE = 1 << 16
# A reader that nothing ends waits for longer.
SOON = 10.0
# In seconds: of one wait of the server.  A killed reader waits for two of them at most.
LOOK_LIMIT = 0.05

READ = "import sys; print(open(sys.argv[1], 'rb').read(10))"
MAP = "import mmap, sys; f = open(sys.argv[1]); print(mmap.mmap(f.fileno(), 0, prot=1)[:10])"
DIRECT = (
    "import mmap, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT);"
    "print(os.preadv(fd, [mmap.mmap(-1, 4096)], 0))"
)
# Only a direct read is a request of its own: the kernel interrupts no request for the page cache.
TIMER = "import signal; signal.signal(signal.SIGALRM, lambda *_: None);" + DIRECT


class Gate:
    """Contents that come when the gate is opened; ``looks`` are the waits of the server.

    It takes the place of the module ``time``.
    """

    def __init__(self) -> None:
        self.ends = os.pipe()
        self.readers = 0
        self.looks: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.looks.append(seconds)
        time.sleep(seconds)

    def read(self, _place: int, _length: int, _offset: int, size: int) -> Sequence[bytes]:
        about_to_wait()
        self.readers += 1
        os.read(self.ends[0], 1)
        return (bytes(size),)

    def open(self) -> None:
        os.close(self.ends[1])


def write_layer(place: Path, names: Sequence[bytes]) -> None:
    """Write a layer with files of these names, which have SIZE bytes each."""
    directory = place / "layers" / "ab"
    directory.mkdir(parents=True)
    index = IndexWriter()
    index.add(IndexEntry(b"", S_IFDIR | 0o755))
    for name in names:
        index.add(IndexEntry(name, S_IFREG | 0o644, size=SIZE))
    index.set_entries(0, 1)
    (directory / "index").write_bytes(b"".join(index.parts()))
    (directory / "file").write_bytes(b"hsqs")


def staged(
    tmp_path: Path, scenario: Callable[[Path, Gate], object], names: Sequence[bytes] = (b"f",)
) -> Any:
    """Run ``scenario`` with the files of a layer, mounted in namespaces of its own, and the gate.

    The server is in the same process.
    """
    write_layer(tmp_path, names)
    place = tmp_path / "shown"
    place.mkdir()

    def inside(_tie: object) -> object:
        gate = Gate()
        enter_namespaces(0, 0)
        vars(layer_files)["open_contents"] = lambda *_, **__: gate
        vars(concurrent)["time"] = gate
        device, tree = mount_fuse(b"x", 0, 0)
        move_mount(tree, b"", AT_FDCWD, os.fsencode(place), MOVE_MOUNT_F_EMPTY_PATH)
        layers = os.open(tmp_path / "layers", os.O_RDONLY | os.O_DIRECTORY)
        service = ConcurrentService(device, LayersFiles(layers, 0, 0).handlers, lambda: None)
        start_new_thread(service.serve, ())
        return scenario(place / "ab", gate)

    return Child(inside).result()


def reader(program: str, path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, str(path)], stdout=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_kills_ends_a_reader_at_once(tmp_path: Path, number: int) -> None:
    def scenario(layer: Path, gate: Gate) -> object:
        found = []
        for count, program in enumerate((READ, MAP, DIRECT)):
            # SIGINT has the default action, which Python changes.
            own = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL);" + program
            process = reader(own, layer / f"{count}")
            until(lambda: gate.readers > count, "a reader waits", SOON)  # noqa: B023
            process.send_signal(number)
            found.append(process.wait(SOON))
        return found, gate.looks

    assert staged(tmp_path, scenario, [b"0", b"1", b"2"]) == ([-number] * 3, [])


def test_more_readers_than_threads_end_too(tmp_path: Path) -> None:
    names = [b"%03d" % number for number in range(40)]

    def scenario(layer: Path, gate: Gate) -> object:
        processes = [reader(READ, layer / name.decode()) for name in names]
        until(lambda: gate.readers >= 31, "all threads but one wait", SOON)
        for process in processes:
            process.kill()
        return [process.wait(SOON) for process in processes], gate.looks

    assert staged(tmp_path, scenario, names) == ([-signal.SIGKILL] * len(names), [])


@pytest.mark.parametrize("program", [READ, MAP])
def test_another_signal_does_not_make_a_read_fail(tmp_path: Path, program: str) -> None:
    own = "import signal; signal.signal(signal.SIGALRM, lambda *_: None);" + program

    def scenario(layer: Path, gate: Gate) -> object:
        process = reader(own, layer / "f")
        until(lambda: gate.readers > 0, "a reader waits", SOON)
        process.send_signal(signal.SIGALRM)
        until(lambda: b"signal" in wchan_and_pending(process.pid), "the signal waits", SOON)
        gate.open()
        output, _ = process.communicate(timeout=SOON)
        return process.returncode, output.strip()

    assert staged(tmp_path, scenario) == (0, str(bytes(10)).encode())


def wchan_and_pending(process: int) -> bytes:
    """Return a text with "signal" if a signal waits for the process."""
    text = Path(f"/proc/{process}/status").read_bytes()
    lines = dict(line.split(b":", 1) for line in text.splitlines())
    pending = int(lines[b"SigPnd"], 16) | int(lines[b"ShdPnd"], 16)
    return b"signal" if pending else b""


def test_a_kill_after_another_signal_ends_a_reader(tmp_path: Path) -> None:
    def scenario(layer: Path, gate: Gate) -> object:
        process = reader(TIMER, layer / "f")
        until(lambda: gate.readers > 0, "a reader waits", SOON)
        process.send_signal(signal.SIGALRM)
        until(lambda: gate.looks, "the server looks at the reader", SOON)
        process.kill()
        before = len(gate.looks)
        return process.wait(SOON), len(gate.looks) - before, max(gate.looks)

    status, looks, longest = staged(tmp_path, scenario)
    assert status == -signal.SIGKILL
    assert looks <= 1  # the wait at the moment of the kill is the other one
    assert longest <= LOOK_LIMIT


def test_names_and_attributes_come_while_contents_do_not(tmp_path: Path) -> None:
    def scenario(layer: Path, gate: Gate) -> object:
        process = reader(READ, layer / "f")
        until(lambda: gate.readers > 0, "a reader waits", SOON)
        line = ["stat", "-c", "%s", str(layer / "g")]
        done = subprocess.run(line, capture_output=True, timeout=60, check=True)
        process.kill()
        process.wait(SOON)
        return done.stdout

    assert staged(tmp_path, scenario, [b"f", b"g"]) == b"%d\n" % SIZE


def test_contents_that_are_here_need_one_thread(tmp_path: Path) -> None:
    names = [b"%d" % number for number in range(8)]

    def scenario(layer: Path, gate: Gate) -> object:
        before = len(os.listdir("/proc/self/task"))
        vars(gate)["read"] = lambda _place, _length, _offset, size: [bytes(size)]
        line = ["cat", *(str(layer / name.decode()) for name in names)]
        done = subprocess.run(line, capture_output=True, timeout=60, check=True)
        return len(done.stdout), len(os.listdir("/proc/self/task")) - before

    assert staged(tmp_path, scenario, names) == (len(names) * SIZE, 0)


def test_a_file_of_tiny_chunks(tmp_path: Path) -> None:
    def scenario(layer: Path, gate: Gate) -> object:
        vars(gate)["read"] = lambda _place, _length, _offset, size: [b"x"] * size
        process = reader(READ, layer / "f")
        output, _ = process.communicate(timeout=SOON)
        return process.returncode, output.strip()

    assert staged(tmp_path, scenario) == (0, b"b'xxxxxxxxxx'")
