"""The page that a benchmark run writes."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Row:
    """A table's row, ready to print."""

    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A title, how the numbers were measured, and the numbers."""

    title: str
    text: str
    head: tuple[str, ...]
    rows: Sequence[Row]
    commands: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the table as a section of the page."""
        lines = [f"## {self.title}", "", self.text, ""]
        lines.append(f"| {' | '.join(self.head)} |")
        lines.append(f"|{'|'.join('---' if i == 0 else '--:' for i in range(len(self.head)))}|")
        lines += [f"| {' | '.join(row.cells)} |" for row in self.rows]
        if self.commands:
            lines += ["", "```", *self.commands, "```"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Target:
    """A figure that Sundog is to reach: at most ``limit``.  A count is a whole number."""

    name: str
    value: float
    limit: float

    @property
    def verdict(self) -> str:
        """Tell whether Sundog reaches the figure; NaN, where a peer failed, is no figure."""
        if math.isnan(self.value):
            return "a peer failed"
        return "reached" if self.value <= self.limit else "**missed**"

    @property
    def measured(self) -> str:
        """Return the value with digits enough to tell it from a limit of two or three."""
        return str(self.value) if isinstance(self.value, int) else f"{self.value:#.4g}"


def figure(value: float, form: str) -> str:
    """Return a measured value in the format ``form``, "fails" for NaN."""
    return "fails" if math.isnan(value) else format(value, form)


def ratio(sundog: float, other: float) -> str:
    """Return Sundog's cost divided by the other's, "" if one of them is NaN."""
    quotient = sundog / other
    return "" if math.isnan(quotient) else f"{quotient:.2f}"


@dataclass
class Results:
    """Everything that one run measured."""

    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def target(self, name: str, value: float, limit: float) -> None:
        """Enter a figure beside its limit."""
        target = Target(name, value, limit)
        self.targets.append(target)
        print(f"  {name}: {target.measured} (limit {limit:g})", flush=True)


def page(results: Results, versions: Mapping[str, str], machine: str) -> str:
    """Return docs/reference/benchmarks.md."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    peers = ", ".join(f"{name} {version}" for name, version in versions.items())
    figures = Table(
        "Figures to reach",
        "Each limit is an upper one; the tables below show where the figures come from.",
        ("figure", "measured", "limit", ""),
        [
            Row((
                target.name,
                target.measured,
                f"{target.limit:g}",
                target.verdict,
            ))
            for target in results.targets
        ],
    )  # fmt: skip
    introduction = (
        f"Written by `make bench` on {today}: {machine}. One run, all tools side by side, on a"
        " fresh ext4 in a loop-mounted file, as an ordinary user. Peers are Debian's packages: "
        f"{peers}. buildah has subordinate ids, which Sundog and Charliecloud do without. All"
        " figures are medians of three rounds or more, or, where a table says so, the least; a"
        " ratio is Sundog's figure ÷ the other's: below 1, Sundog takes less. sync(2) comes before"
        " each measurement, so that no command pays for what another left unwritten. The page cache"
        " gets the free memory first, because free memory of a virtual machine may cost more"
        " (`bench/memory.py`). `$D` is the file system's directory, `$BASES` where the tarballs"
        " are kept."
    )
    parts = [
        "# Benchmarks",
        introduction,
        figures.markdown(),
        *(table.markdown() for table in results.tables),
    ]
    return "\n\n".join(parts) + "\n"
