"""Hold what a row did under emulation against what it did as real root."""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.programs import normal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.programs.inside import Result
    from scripts.programs.rows import Row


LACKING = ": command not found"  # the row asks for a program that the image lacks


class Kind(enum.Enum):
    """The verdicts, from good to bad; the value is the word that is printed."""

    EQUAL = "equal"
    DOCUMENTED = "differs, documented"
    ALIKE = "fails alike"
    DIFFERS = "DIFFERS"


@dataclass(frozen=True)
class Verdict:
    """A row, how it came out, and the lines that differ (-: real root, +: emulation).

    ``way`` names the way of emulation.
    """

    row: Row
    kind: Kind
    lines: tuple[str, ...] = ()
    way: str = ""


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst verdict, the first one of these."""
    return max(verdicts, key=lambda verdict: [*Kind].index(verdict.kind))


def judge(row: Row, real: Result, emulated: Result, way: str = "") -> Verdict:
    """Compare output, exit status, and what was made.

    A row in which both sides fail proves nothing, so it does not count as equal.
    """
    lines = list(difflib.unified_diff(_lines(real), _lines(emulated), n=0, lineterm=""))[2:]
    found = tuple(line for line in lines if not line.startswith("@@"))
    if found:
        kind = Kind.DOCUMENTED if row.options["differs"] else Kind.DIFFERS
        return Verdict(row, kind, found, way)
    if real.status != int(row.options["status"]) or LACKING in real.output:
        return Verdict(row, Kind.ALIKE, tuple(_lines(real)[-12:]), way)
    return Verdict(row, Kind.EQUAL, way=way)


def _lines(result: Result) -> list[str]:
    return [
        *normal.output(result.output),
        f"exit status {result.status}",
        *(f"made: {line}" for line in normal.made(result.made)),
    ]
