"""The log: a line never waits, and what hinders it is no error; what is lost is counted."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from sundog.base.configuration import log, log_program
from sundog.base.configuration.kinds import KINDS
from sundog.base.configuration.log import Log, LogEntry, open_log
from sundog.base.kernel.process import PR_SET_CHILD_SUBREAPER, prctl
from tests.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACCOUNT = ("ada", 1000)
ENTRY = LogEntry("ch-run", "debian:trixie", status="started", identity=("0123", ""), mode="none")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory in which lost lines are counted; others can't change it."""
    tmp_path.chmod(0o700)
    (tmp_path / "caches").mkdir(0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "sundog"


def lost_lines(caches: Path) -> int:
    """Return how many lines are counted as lost."""
    return sum(int(path.suffix[1:]) for path in caches.glob("lost-log-lines.*"))


def write_log(place: bytes, entry: LogEntry) -> None:
    """Write a line."""
    Log(place, os.environb).write(entry)


def listener(path: Path) -> socket.socket:
    """Return a socket of datagrams at ``path``."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(os.fspath(path))
    made.setblocking(False)
    return made


def test_the_fields() -> None:
    found = json.loads(ENTRY.line(ACCOUNT, 7))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.pop("time"))
    assert found == {
        "user": "ada",
        "uid": 1000,
        "command": "ch-run",
        "image": "debian:trixie",
        "id": "0123",
        "digest": None,
        "mode": "none",
        "status": "started",
        "duration": None,
        "lost": 7,
    }
    done = LogEntry("ch-image pull", None, status=0, duration=1 / 3)
    assert json.loads(done.line(ACCOUNT))["duration"] == 0.333


def test_a_line_is_one_line_in_ascii_and_one_write() -> None:
    for image in ('a"b\\\n\x1b\x00', "é" * 5000, "\U0001f600" * 5000, "\udcff" * 5000):
        line = LogEntry("ch-run", image, status="started", identity=("x" * 5000, image)).line(
            ACCOUNT
        )
        assert line.isascii()
        assert b"\n" not in line
        assert json.loads(line)["image"] == image[:200]
    assert len(LogEntry("ch-run", "\U0001f600" * 5000, status="started").line(ACCOUNT)) < 4096


@pytest.mark.parametrize("name", ["syslog", "journal"])
def test_a_datagram(
    name: str, tmp_path: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    monkeypatch.setitem(log._SOCKETS, name.encode(), os.fsencode(path))
    write_log(name.encode(), ENTRY)  # nobody is there
    with listener(path) as place:
        write_log(name.encode(), ENTRY)
        data = place.recv(8192)
        if name == "syslog":
            head, _, line = data.partition(b"]: ")
            tag = rb"<14>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d sundog\[%d" % os.getpid()
            assert re.fullmatch(tag, head)
        else:
            head, _, line = data.partition(b"MESSAGE=")
            assert head == b"PRIORITY=6\nSYSLOG_IDENTIFIER=sundog\n"
        found = json.loads(line)
        assert (found["command"], found["lost"]) == ("ch-run", 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:  # a queue that is full
            other.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    other.sendto(b"x", os.fspath(path))
        assert lost_lines(caches) == 0
        write_log(name.encode(), ENTRY)  # it does not wait
    path.unlink()
    path.mkdir()
    write_log(name.encode(), ENTRY)
    assert lost_lines(caches) == 2


def test_a_file(tmp_path: Path, caches: Path) -> None:
    path = tmp_path / "log"
    place = os.fsencode(path)
    write_log(place, ENTRY)
    write_log(place, ENTRY)
    assert not path.exists()  # a site makes it
    path.write_text("before\n")
    for _ in range(2):
        write_log(place, ENTRY)
    lines = path.read_text().splitlines()
    assert lines[0] == "before"
    assert [json.loads(line)["image"] for line in lines[1:]] == ["debian:trixie"] * 2
    assert [json.loads(line)["lost"] for line in lines[1:]] == [2, 0]
    # A link, what is no file, and what can't be written.
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo")
    for other in ("link", "fifo", "fifo/x", "."):
        write_log(os.fsencode(tmp_path / other), ENTRY)
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    write_log(os.fsencode(tmp_path / "fifo"), ENTRY)
    assert os.read(reader, 1) == b""
    os.close(reader)
    path.chmod(0o400)
    if os.geteuid():
        write_log(place, ENTRY)
    path.chmod(0o600)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    pid = os.fork()
    if not pid:  # the limit would kill by SIGXFSZ
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
        write_log(place, ENTRY)
        os._exit(7 if signal.getsignal(signal.SIGXFSZ) == signal.SIG_DFL else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert open_log(b"none", os.environb) is None
    assert path.read_bytes() == before
    assert lost_lines(caches) == 6 + bool(os.geteuid())


def test_what_is_counted(tmp_path: Path, caches: Path) -> None:
    """Nothing that is no number, and nothing where others could write."""
    path = tmp_path / "log"
    path.touch()
    place, lost = os.fsencode(path), os.fsencode(tmp_path)  # a directory
    for _ in range(3):
        write_log(lost, ENTRY)
    assert len(list(caches.iterdir())) == 1
    for name in ("lost-log-lines.0.-1", "lost-log-lines.0." + "9" * 10):
        (caches / name).touch()
    (caches / "lost-log-lines.1.5").mkdir()  # it can't be taken
    write_log(place, ENTRY)
    caches.chmod(0o777)
    write_log(lost, ENTRY)
    write_log(place, ENTRY)
    assert [json.loads(line)["lost"] for line in path.read_text().splitlines()] == [3, 0]


def test_lines_that_are_lost_side_by_side(caches: Path, tmp_path: Path) -> None:
    """Each is counted once, whoever tells it."""
    log = tmp_path / "log"
    children = []
    for number in range(8):
        children.append(os.fork())
        if not children[-1]:
            for turn in range(50):
                if (number, turn) == (0, 25):
                    log.touch()
                write_log(os.fsencode(log), ENTRY)
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) + sum(line["lost"] for line in lines) + lost_lines(caches) == 400


# Tells its variables, its descriptors, its session, and what it gets.
PROGRAM = """#!/bin/sh
{ tr '\\0' '\\n' </proc/self/environ; ls -l /proc/$$/fd; pwd; echo "$@"; cat; } >$1.new
mv $1.new $1
"""


def test_a_program(
    tmp_path: Path, caches: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the line, and nothing else; nobody waits for it, or misses it."""
    program, told = tmp_path / "program", tmp_path / "told"
    place = f"|{program} {told} words".encode()
    monkeypatch.setenv("SECRET", "a-secret")
    write_log(place, ENTRY)  # it is not there
    until(lambda: lost_lines(caches) == 1)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    log = Log(place, os.environb)
    assert not told.exists()
    log.write(ENTRY)
    until(told.exists)
    *rest, line = told.read_text().splitlines()
    assert json.loads(line)["lost"] == 1
    text = "\n".join(rest)
    assert text.endswith(f"\n/\n{told} words")
    assert "a-secret" not in text
    assert text.count("/dev/null") == 2, text
    assert capfd.readouterr() == ("", "")


def in_a_child(act: Callable[[], bool]) -> bool:
    """Return what ``act`` returns in a new process."""
    pid = os.fork()
    if not pid:
        status = 9
        with suppress(BaseException):
            status = 7 if act() else 8
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_program_is_no_child_of_the_command(tmp_path: Path) -> None:
    def act() -> bool:
        for program in ("/bin/true", tmp_path / "none"):
            write_log(f"|{program}".encode(), ENTRY)
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
        return True

    assert in_a_child(act)


def test_a_program_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignored and blocked signals do not save it."""
    monkeypatch.setattr(log_program, "_SECONDS", 1)

    def act() -> bool:
        prctl(PR_SET_CHILD_SUBREAPER, b"", 1)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        write_log(b"|/bin/sleep 1000", ENTRY)
        return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]) == -signal.SIGALRM

    assert in_a_child(act)


def test_a_program_without_a_line(tmp_path: Path, caches: Path) -> None:
    """A start that fails has no line, and starts no program; one that is killed loses the line."""
    told = tmp_path / "told"
    opened = Log(f"|/bin/touch {told}".encode(), os.environb)
    assert opened._program is not None
    channel = opened._program._channel
    channel.shutdown(socket.SHUT_WR)
    channel.settimeout(60)
    assert channel.recv(1) == b""  # the process has ended
    opened.write(ENTRY)
    assert lost_lines(caches) == 1
    assert not told.exists()


def test_the_key() -> None:
    read = KINDS["log"].read
    for good in ("syslog", "journal", "none", "/var/log/sundog.log", "|/usr/bin/logger -t x"):
        assert read(good) == (good.encode(),)
    for bad in (
        "",
        "Syslog",
        "log",
        "|",
        "|logger",
        "| /bin/x",
        "|/",
        "|/bin/\n",
        "/x\0",
        1,
        ["syslog"],
    ):
        assert read(bad) is None
