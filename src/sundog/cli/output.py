"""What commands print on standard output: tables for people, JSON for scripts.

JSON is one value, with the keys that docs/ch-image.md lists; keys are added, never changed.
"""

from __future__ import annotations

import io
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

_STANDARD_OUTPUT = "/dev/stdout"
_STEP = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class _StandardOutput(io.FileIO):
    """Standard output, whose errors say that it is what they are about."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _STANDARD_OUTPUT
            raise


def name_standard_output() -> None:
    """Let errors of standard output name it; else it would be taken for another file's."""
    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return
    old = sys.stdout
    raw = _StandardOutput(old.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), old.encoding, old.errors, line_buffering=old.isatty()
    )


def print_line(text: str) -> None:
    """Print a line, in which what is no text passes as the bytes that it was."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(text) + b"\n")


def print_json(value: object) -> None:
    """Print a value as JSON; ASCII only, so that it reads the same in every locale."""
    print(json.dumps(value, indent=2))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of as many columns each, aligned, `` | `` between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_line(" | ".join(cells).rstrip())


def human_size(size: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    amount = float(size)
    for unit in _UNITS:
        if amount < _STEP or unit == _UNITS[-1]:
            break
        amount /= _STEP
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
