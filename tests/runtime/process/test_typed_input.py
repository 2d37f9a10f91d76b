"""``process.typed_input``: programs on a real terminal that read, and that do not."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.process.pseudoterminal import Pseudoterminal, take_terminal

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 30


def typed_to(argv: list[str], data: bytes, tmp_path: Path) -> tuple[int, bytes]:
    """Type ``data`` for a program; return its exit status and what it has shown."""
    source, shown = tmp_path / "typed", tmp_path / "shown"
    source.write_bytes(data)
    with source.open("rb") as typed, shown.open("wb") as out:
        terminal = Pseudoterminal(typed.fileno(), out.fileno())
        with (
            terminal,
            subprocess.Popen(
                argv,
                start_new_session=True,
                preexec_fn=lambda: take_terminal(os.dup(terminal.end)),  # noqa: PLW1509
            ) as process,
        ):
            deadline = time.monotonic() + SECONDS
            while process.poll() is None:
                assert time.monotonic() < deadline, "the program never saw the end of its input"
                for ready in select.select(list(terminal.sources), [], [], 0.01)[0]:
                    terminal.carry(ready)
                terminal.typed.carry_due()
            terminal.finish()
        return process.returncode, shown.read_bytes()


@pytest.mark.parametrize("lines", [1, 1000])
def test_all_lines_and_the_end_arrive(lines: int, tmp_path: Path) -> None:
    """More lines than a terminal holds reach a program that starts to read late."""
    argv = ["/bin/sh", "-c", "sleep 0.2; stty -echo; cat >copy"]
    status, _ = typed_to(
        ["/bin/sh", "-c", f"cd {tmp_path} && {argv[2]}"], b"a line\n" * lines, tmp_path
    )
    assert status == 0
    assert (tmp_path / "copy").read_bytes() == b"a line\n" * lines


def test_an_end_that_a_change_of_mode_eats_is_typed_again(tmp_path: Path) -> None:
    """The program discards its input, as a shell does that edits lines, after ^D was typed."""
    script = (
        "import sys, termios, time\n"
        "deadline = time.monotonic() + 20\n"
        "mode = termios.tcgetattr(0)\n"
        "for _ in range(20):\n"
        "    time.sleep(0.02)\n"
        "    termios.tcsetattr(0, termios.TCSAFLUSH, mode)\n"
        "print(repr(sys.stdin.read()))\n"
    )
    status, seen = typed_to(["python3", "-c", script], b"", tmp_path)
    assert (status, seen) == (0, b"''\r\n")
