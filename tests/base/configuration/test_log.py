"""The log: a line never waits, and what hinders it is no error."""

import json
import os
import re
import resource
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from sundog.base.configuration import log
from sundog.base.configuration.kinds import KINDS
from sundog.base.configuration.log import LogEntry, write_log

ENTRY = LogEntry("ch-run", "debian:trixie", status="started", identity=("0123", ""), mode="none")


def listener(path: Path) -> socket.socket:
    """Return a socket of datagrams at ``path``."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(os.fspath(path))
    made.setblocking(False)
    return made


def test_the_fields() -> None:
    found = json.loads(ENTRY.line(os.environb))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.pop("time"))
    assert found.pop("user")
    assert found == {
        "uid": os.geteuid(),
        "command": "ch-run",
        "image": "debian:trixie",
        "id": "0123",
        "digest": None,
        "mode": "none",
        "status": "started",
        "duration": None,
    }
    done = LogEntry("ch-image pull", None, status=0, duration=1 / 3)
    assert json.loads(done.line(os.environb))["duration"] == 0.333


def test_a_line_is_one_line_in_ascii_and_one_write() -> None:
    for image in ('a"b\\\n\x1b\x00', "é" * 5000, "\U0001f600" * 5000, "\udcff" * 5000):
        line = LogEntry("ch-run", image, status="started", identity=("x" * 5000, image)).line({})
        assert line.isascii()
        assert b"\n" not in line
        assert json.loads(line)["image"] == image[:200]
    assert len(LogEntry("ch-run", "\U0001f600" * 5000, status="started").line({})) < 4096


@pytest.mark.parametrize("name", ["syslog", "journal"])
def test_a_datagram(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    monkeypatch.setattr(log, f"_{name.upper()}_SOCKET", os.fsencode(path))
    write_log(name.encode(), ENTRY, os.environb)  # nobody is there
    with listener(path) as place:
        write_log(name.encode(), ENTRY, os.environb)
        data = place.recv(8192)
        if name == "syslog":
            head, _, line = data.partition(b"]: ")
            tag = rb"<14>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d sundog\[%d" % os.getpid()
            assert re.fullmatch(tag, head)
        else:
            head, _, line = data.partition(b"MESSAGE=")
            assert head == b"PRIORITY=6\nSYSLOG_IDENTIFIER=sundog\n"
        assert json.loads(line)["command"] == "ch-run"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:  # a queue that is full
            other.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    other.sendto(b"x", os.fspath(path))
        write_log(name.encode(), ENTRY, os.environb)  # it does not wait
    path.unlink()
    path.mkdir()
    write_log(name.encode(), ENTRY, os.environb)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    place = os.fsencode(path)
    write_log(place, ENTRY, os.environb)
    assert not path.exists()  # a site makes it
    path.write_text("before\n")
    for _ in range(2):
        write_log(place, ENTRY, os.environb)
    lines = path.read_text().splitlines()
    assert lines[0] == "before"
    assert [json.loads(line)["image"] for line in lines[1:]] == ["debian:trixie"] * 2
    # A link, what is no file, and what can't be written.
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo")
    for other in ("link", "fifo", "fifo/x", "."):
        write_log(os.fsencode(tmp_path / other), ENTRY, os.environb)
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    write_log(os.fsencode(tmp_path / "fifo"), ENTRY, os.environb)
    assert os.read(reader, 1) == b""
    os.close(reader)
    path.chmod(0o400)
    if os.geteuid():
        write_log(place, ENTRY, os.environb)
    path.chmod(0o600)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    pid = os.fork()
    if not pid:  # the limit would kill by SIGXFSZ
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
        write_log(place, ENTRY, os.environb)
        os._exit(7 if signal.getsignal(signal.SIGXFSZ) == signal.SIG_DFL else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    write_log(b"none", ENTRY, os.environb)
    assert path.read_bytes() == before


def test_the_key() -> None:
    read = KINDS["log"].read
    for good in ("syslog", "journal", "none", "/var/log/sundog.log"):
        assert read(good) == (good.encode(),)
    for bad in ("", "Syslog", "log", "|/usr/bin/logger", "/x\0", 1, ["syslog"]):
        assert read(bad) is None
