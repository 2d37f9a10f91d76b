"""Hold what a row did under emulation against what it did as real root."""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.programs import normal

if TYPE_CHECKING:
    from scripts.programs.inside import Result
    from scripts.programs.rows import Row


LACKING = ": command not found"  # the row asks for a program that the image lacks


class Kind(enum.Enum):
    """The verdicts; the value is the word that is printed."""

    EQUAL = "equal"
    DOCUMENTED = "differs, documented"
    DIFFERS = "DIFFERS"
    ALIKE = "fails alike"


@dataclass(frozen=True)
class Verdict:
    """A row, how it came out, and the lines that differ (-: real root, +: emulation)."""

    row: Row
    kind: Kind
    lines: tuple[str, ...] = ()


def judge(row: Row, real: Result, emulated: Result) -> Verdict:
    """Compare output, exit status, and what was made.

    A row in which both sides fail proves nothing, so it does not count as equal.
    """
    lines = list(difflib.unified_diff(_lines(real), _lines(emulated), n=0, lineterm=""))[2:]
    found = tuple(line for line in lines if not line.startswith("@@"))
    if found:
        return Verdict(row, Kind.DOCUMENTED if row.options["differs"] else Kind.DIFFERS, found)
    if real.status != int(row.options["status"]) or LACKING in real.output:
        return Verdict(row, Kind.ALIKE, tuple(_lines(real)[-12:]))
    return Verdict(row, Kind.EQUAL)


def _lines(result: Result) -> list[str]:
    return [
        *normal.output(result.output),
        f"exit status {result.status}",
        *(f"made: {line}" for line in normal.made(result.made)),
    ]
