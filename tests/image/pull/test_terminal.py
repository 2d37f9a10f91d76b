"""The output and the questions for a user at a terminal."""

from __future__ import annotations

import os
import pty
import select
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.layer.archives import file
from tests.image.pull.faulty import Answer, basic_login

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.image.pull.faulty import Asked, FaultyRegistry

_SECONDS = 60


@pytest.fixture
def image(faulty: FaultyRegistry) -> str:
    """Return the name of an image whose layer arrives slowly."""
    shelf = faulty.shelf
    shelf.image(shelf.base(), shelf.layer(file("big", os.urandom(400_000))), tag="a:latest")

    def slowly(asked: Asked, answer: Answer) -> Answer:
        if asked.is_blob:
            answer.pause = 0.001
        return answer

    faulty.faults.append(slowly)
    return f"{faulty.host}/a"


def at_terminal(
    *arguments: str, storage: Path, answers: Sequence[tuple[bytes, bytes]] = (), **environment: str
) -> tuple[int, bytes]:
    """Run ch-image at its own terminal; type each answer after its question."""
    pid, terminal = pty.fork()
    if not pid:
        settings = {"CH_IMAGE_STORAGE": str(storage), "TERM": "xterm", "COLUMNS": "120"}
        argv = [*command("ch-image"), *arguments]
        os.execve(argv[0], argv, os.environ | settings | environment)
    shown = b""
    left = list(answers)
    seen = 0
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: ch-image has ended
            break
        shown += part
        while left and left[0][0] in shown[seen:]:
            question, answer = left.pop(0)
            seen = shown.index(question, seen) + len(question)
            os.write(terminal, answer + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown


def test_transfers_are_drawn(image: str, storage: Path) -> None:
    status, shown = at_terminal("pull", image, storage=storage)
    assert status == 0, shown
    assert b"layer 2/2" in shown
    assert "\u2501".encode() in shown  # the bar
    assert b"done" in shown


def test_a_dumb_terminal_gets_lines(image: str, storage: Path) -> None:
    status, shown = at_terminal("pull", image, storage=storage, TERM="dumb")
    assert status == 0, shown
    assert b": downloading" in shown
    assert "\u2501".encode() not in shown


@pytest.mark.parametrize(("password", "status"), [(b"s3cret", 0), (b"wr0ng", 1)])
def test_name_and_password_are_asked(
    faulty: FaultyRegistry, image: str, storage: Path, password: bytes, status: int
) -> None:
    faulty.faults.append(basic_login("u", "s3cret"))
    answers = [(b"Username", b"u"), (b"Password", password)]
    found, shown = at_terminal("pull", "--auth", image, storage=storage, answers=answers)
    assert found == status, shown
    assert password not in shown  # the terminal does not echo it, and ch-image does not print it
    assert (b"rejects user u" in shown) == bool(status)


@pytest.mark.parametrize(("options", "times"), [((), 1), (("--password-many",), 2)])
def test_a_password_is_asked_once_or_for_each_image(
    faulty: FaultyRegistry, storage: Path, tmp_path: Path, options: tuple[str, ...], times: int
) -> None:
    faulty.shelf.image(faulty.shelf.base(), tag="a:latest")
    faulty.shelf.image(faulty.shelf.base(), tag="b:latest")
    faulty.faults.append(basic_login("u", "s3cret"))
    host = faulty.host
    (tmp_path / "Dockerfile").write_text(
        f"FROM {host}/a AS a\nFROM {host}/b\nCOPY --from=a etc/base /a\n"
    )
    answers = [(b"Username", b"u"), (b"Password", b"s3cret")]
    arguments = ["build", "--auth", *options, "-t", "x", str(tmp_path)]
    status, shown = at_terminal(*arguments, storage=storage, answers=answers * times)
    assert status == 0, shown
    assert shown.count(b"Password") == times
    assert b"s3cret" not in shown
