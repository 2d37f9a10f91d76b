"""What is typed reaches a program, however late it reads."""

from __future__ import annotations

import os

from sundog.container.pseudoterminal import Pseudoterminal


def test_the_end_of_the_input_waits_for_the_program() -> None:
    """A terminal takes no more than a few KiB from a user whose program does not read."""
    typed, keyboard = os.pipe()
    shown = os.open("/dev/null", os.O_WRONLY)
    terminal = Pseudoterminal(typed, shown)
    lines = 0
    with terminal:
        (master,) = terminal.sources - {typed}
        try:
            while True:
                lines += os.write(master, b"x\n") // 2
        except BlockingIOError:
            os.close(keyboard)
        terminal.carry(typed)
        assert typed in terminal.sources
        for _ in range(lines):
            assert os.read(terminal.end, 100) == b"x\n"
        terminal.carry(typed)
        assert terminal.sources == {master}
        assert os.read(terminal.end, 100) == b""
    os.close(typed)
    os.close(shown)
