"""Write docs/reference/programs.md, the page of results."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from scripts.place import CHECKOUT, atomically
from scripts.programs.compare import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.programs.compare import Verdict

PATH = CHECKOUT / "docs/reference/programs.md"
HEAD = """\
# Programs under `notify`

`make fidelity-programs` (as root) makes this page. It runs each row, a small shell script, in the
same image: as real root, and under `ch-run -W --notify` as an ordinary user. Some rows run in a RUN
of `ch-image build --force=notify` instead. Emulated, each runs with
[the fast path](../explanation/fast-path.md) and without, and is equal if both ways are. It compares
what the script prints, its exit status, and what it makes: type, mode, owner, group, device number,
number of links, link target and extended attributes. Times, process numbers and temporary names are
left out by the rules in `scripts/programs/normal.py`. The scripts are in `scripts/programs/rows/`.

A row in which both sides fail alike proves nothing. It does not count as equal.

"""


def write(verdicts: Sequence[Verdict], *, again: int, is_long: bool) -> None:
    """Write the page; ``again`` is the number of rows that ran again, apart from the others."""
    counts = Counter(verdict.kind for verdict in verdicts)
    command = "make fidelity-programs" + " ARGS=--long" * is_long
    apart = f"; {again} of them ran after the others, alone" * bool(again)
    lines = [f"`{command}`: {len(verdicts)} rows{apart}.", ""]
    lines += ["| result | rows |", "|---|--:|"]
    lines += [f"| {kind.value.lower()} | {counts[kind]} |" for kind in Kind]
    lines += ["", "| family | rows | equal | rows that are equal |", "|---|--:|--:|---|"]
    for family in dict.fromkeys(verdict.row.family for verdict in verdicts):
        rows = [verdict for verdict in verdicts if verdict.row.family == family]
        equal = [verdict.row.name for verdict in rows if verdict.kind is Kind.EQUAL]
        lines.append(f"| {family} | {len(rows)} | {len(equal)} | {', '.join(equal)} |")
    for kind, title, empty in (
        (Kind.DOCUMENTED, "What differs, and why", "No row."),
        (Kind.DIFFERS, "What differs, and should not", "No row."),
        (Kind.ALIKE, "What fails alike", "No row."),
    ):
        lines += ["", f"## {title}", ""]
        rows = [verdict for verdict in verdicts if verdict.kind is kind]
        if rows:
            lines += ["| row | reason |", "|---|---|"]
        lines += [f"| {found.row} | {_reason(found)} |" for found in rows] or [empty]
    with atomically(PATH) as part:
        part.write_text(HEAD + "\n".join(lines) + "\n")


def _reason(verdict: Verdict) -> str:
    shown = verdict.row.options["differs"] or f"`{(verdict.lines or ('',))[-1][:80]}`"
    return shown.replace("|", "\\|")
