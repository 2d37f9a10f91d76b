"""Hide the values of variables that stand on the command line of this process."""

from __future__ import annotations

import sys

from sundog.base.kernel.libc import encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.options import Line


def hide_values(line: Line) -> None:
    """Leave out the values of -e from /proc/PID/cmdline, which all users of the machine can read.

    This process, or a child of it, may live as long as the container.
    """
    given = [text for text in line.all("env") if "=" in text]
    if not given:
        return
    from sundog.base.kernel.process import clear_command_line  # few lines have values

    clear_command_line([encode_text(_without_value(word, given)) for word in sys.orig_argv])


def _without_value(word: str, given: Sequence[str]) -> str:
    """Return a word of the line without the value of a variable; -e may be in the same word."""
    for text in given:
        if word.endswith(text):
            return word.removesuffix(text) + text.partition("=")[0]
    return word
