"""Logs of detached containers, and the times that select their lines."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from sundog.errors import UsageError
from sundog.front.podman.logs import STDERR, STDOUT, LogReader, LogWriter, selected
from sundog.front.podman.template_values import Moment
from sundog.front.podman.times import SECOND, age, decimal_size, parse_moment, written

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_919_940_893_286_811


def test_log(tmp_path: Path) -> None:
    """Each line has its time and stream; the last one may be without an end."""
    path = tmp_path / "log"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    out, err = LogWriter(log, STDOUT), LogWriter(log, STDERR)
    out.write(b"one\ntw", NOW)
    err.write(b"bad\n", NOW + 1)
    out.write(b"o\n\nrest", NOW + 2)
    out.write(b"x" * 10_000, NOW + 3)
    out.end(NOW + 4)
    os.close(log)
    # The format is that of podman's k8s-file.
    assert path.read_bytes().splitlines()[0] == b"2026-11-29T02:39:00.893286811Z stdout F one"
    reader = LogReader(os.open(path, os.O_RDONLY))
    lines = list(reader.lines())
    assert b"".join(line.text for line in lines if line.stream == STDOUT) == (
        b"one\ntwo\n\nrest" + b"x" * 10_000
    )
    assert [(line.when - NOW, line.text) for line in lines[:4]] == [
        (0, b"one\n"),
        (1, b"bad\n"),
        (2, b"two\n"),
        (2, b"\n"),
    ]
    assert list(reader.lines()) == []
    with path.open("ab") as more:
        more.write(b"damaged\n2026-13-45T00:00:00.000000000Z stdout F x\n\xff \xff\n")
    assert list(reader.lines()) == []
    reader.close()


@pytest.mark.parametrize(
    ("tail", "since", "until", "shown"),
    [
        (None, None, None, "0123456789"),
        (3, None, None, "789"),
        (0, None, None, ""),
        (100, None, None, "0123456789"),
        (None, 4, None, "456789"),
        (None, 4, 6, "456"),
        (2, None, 6, "56"),
    ],
)
def test_selection(
    tail: int | None, since: int | None, until: int | None, shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        for number in range(10):
            LogWriter(log.fileno(), STDOUT).write(b"%d\n" % number, number)
    reader = LogReader(os.open(path, os.O_RDONLY))
    found = list(selected(reader.lines(), tail=tail, since=since, until=until))
    reader.close()
    assert b"".join(line.text for line in found) == "".join(f"{x}\n" for x in shown).encode()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", NOW - 600 * SECOND),
        ("1h30m", NOW - 5400 * SECOND),
        ("1.5s", NOW - 3 * SECOND // 2),
        ("1136073600.5", 1_136_073_600_500_000_000),
        ("2006-01-02T15:04:05Z", 1_136_214_245 * SECOND),
        ("2006-01-02T15:04:05.25+01:00", 1_136_210_645_250_000_000),
        ("2006-01-02T15:04:05-0730", 1_136_241_245 * SECOND),
        (written(NOW), NOW),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert parse_moment(text, "--since", NOW) == moment


def test_local_moments() -> None:
    """A time without a zone is the local time, as in podman."""
    local = int(time.mktime((2006, 1, 2, 15, 4, 5, 0, 0, -1)))
    assert parse_moment("2006-01-02T15:04:05", "--since", NOW) == local * SECOND
    assert parse_moment("2006-01-02T15:04", "--since", NOW) == (local - 5) * SECOND


@pytest.mark.parametrize("text", ["", "bogus", "-3m", "1x", "2006-01-02T15:04:05+1", "1.2.3s"])
def test_no_moments(text: str) -> None:
    with pytest.raises(UsageError, match=r"--since .*: not a time"):
        parse_moment(text, "--since", NOW)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2006-01-02T15:04:05.5Z", "2006-01-02 15:04:05.5 +0000 UTC"),
        ("", "0001-01-01 00:00:00 +0000 UTC"),
        ("99999999999999h", "0001-01-01 00:00:00 +0000 UTC"),
        ("9" * 30, "0001-01-01 00:00:00 +0000 UTC"),
        ("2006-01-02T15:04:05." + "5" * 9999 + "Z", "0001-01-01 00:00:00 +0000 UTC"),
    ],
)
def test_times_of_images(text: str, shown: str) -> None:
    """A stranger may have made the image, and its time may be anything."""
    assert str(Moment.of(text)) == shown


def test_words() -> None:
    """The ages and sizes are those that podman prints."""
    hour, day = 3600, 86_400
    assert [age(seconds) for seconds in (0.4, 1, 59, 61, 150, hour, 3 * hour, 3 * day)] == [
        *("Less than a second", "1 second", "59 seconds", "About a minute", "2 minutes"),
        *("About an hour", "3 hours", "3 days"),
    ]
    assert [age(days * day) for days in (1, 13, 15, 59, 61, 729, 731)] == [
        *("24 hours", "13 days", "2 weeks", "8 weeks", "2 months", "24 months", "2 years"),
    ]
    assert decimal_size(2_183_692, 3, " ") == "2.18 MB"
    assert (decimal_size(11_100, 4), decimal_size(0, 3)) == ("11.1kB", "0B")
