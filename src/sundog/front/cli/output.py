"""Standard output of commands: tables for people, JSON for scripts.

Only this module escapes what a terminal would obey on standard output.  ``cli.report`` does so on
standard error, and ``launcher.messages`` for ``ch-run``.  JSON is ASCII and needs no escapes.

Each command prints one JSON value.  docs/reference/ch-image.md lists its keys.  Later versions may
add keys but never change them.
"""

from __future__ import annotations

import json
import sys

from sundog.base.kernel.libc import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


TAB = "\t"


def print_line(text: str = "", layout: str = "") -> None:
    """Print a line for people, escaped except for the characters of ``layout``."""
    encoding = sys.stdout.encoding or "ascii"
    line = escaped(text, layout).encode(encoding, "backslashreplace").decode(encoding)
    print(line)


def print_bytes(line: bytes) -> None:
    """Print a line for programs; a path need not be text."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")


def print_json(value: object, indent: int | str = 2) -> None:
    """Print a value as JSON, in ASCII: the same bytes in every locale."""
    print(json.dumps(value, indent=indent))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of the same length as aligned columns with `` | `` between them."""
    print_columns(rows, " | ")


def print_columns(rows: Sequence[Sequence[str]], gap: str = "  ", *, narrowest: int = 0) -> None:
    """Print rows of the same length as aligned columns with ``gap`` between them.

    No column has fewer than ``narrowest`` characters.
    """
    rows = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(narrowest, *map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_line(gap.join(cells).rstrip())


def human_size(size: int) -> str:
    """Return a number of bytes as text, in a suitable unit."""
    amount = float(size)
    for unit in _UNITS:
        if amount < _STEP or unit == _UNITS[-1]:
            break
        amount /= _STEP
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
