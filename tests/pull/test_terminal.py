"""What a user at a terminal sees, and is asked."""

from __future__ import annotations

import os
import pty
import select
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.layer.archives import file
from tests.pull.faulty import Answer, basic_login

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.pull.faulty import Asked, FaultyRegistry

_SECONDS = 60


@pytest.fixture
def image(faulty: FaultyRegistry) -> str:
    """Return the name of an image whose layer takes a while to come."""
    shelf = faulty.shelf
    shelf.image(shelf.base(), shelf.layer(file("big", os.urandom(400_000))), tag="a:latest")

    def slowly(asked: Asked, answer: Answer) -> Answer:
        if asked.is_blob:
            answer.pause = 0.001
        return answer

    faulty.faults.append(slowly)
    return f"{faulty.host}/a"


def at_terminal(
    *arguments: str, storage: Path, answers: Mapping[bytes, bytes], **environment: str
) -> tuple[int, bytes]:
    """Run ch-image at a terminal of its own; type each answer when its question is there."""
    pid, terminal = pty.fork()
    if not pid:
        settings = {"CH_IMAGE_STORAGE": str(storage), "TERM": "xterm", "COLUMNS": "120"}
        argv = [*command("ch-image"), *arguments]
        os.execve(argv[0], argv, os.environ | settings | environment)
    shown = b""
    left = dict(answers)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: it has ended
            break
        shown += part
        for question in [question for question in left if question in shown]:
            os.write(terminal, left.pop(question) + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown


def test_transfers_are_drawn(image: str, storage: Path) -> None:
    status, shown = at_terminal("pull", image, storage=storage, answers={})
    assert status == 0, shown
    assert b"layer 2/2" in shown
    assert "\u2501".encode() in shown  # the bar
    assert b"done" in shown


def test_a_dumb_terminal_gets_lines(image: str, storage: Path) -> None:
    status, shown = at_terminal("pull", image, storage=storage, answers={}, TERM="dumb")
    assert status == 0, shown
    assert b": downloading" in shown
    assert "\u2501".encode() not in shown


@pytest.mark.parametrize(("password", "status"), [(b"s3cret", 0), (b"wr0ng", 1)])
def test_name_and_password_are_asked(
    faulty: FaultyRegistry, image: str, storage: Path, password: bytes, status: int
) -> None:
    faulty.faults.append(basic_login("u", "s3cret"))
    answers = {b"Username": b"u", b"Password": password}
    found, shown = at_terminal("pull", "--auth", image, storage=storage, answers=answers)
    assert found == status, shown
    assert password not in shown  # it is not echoed, nor printed
    assert (b"rejects user u" in shown) == bool(status)
