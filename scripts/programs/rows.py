"""The rows: shell scripts by family, read from rows/FAMILY.sh.

A row begins with a line `## NAME`. Lines `## KEY: VALUE` may follow; the rest is its script, for
`bash -eu`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DIRECTORY = Path(__file__).parent / "rows"
# The keys, and the values that they have if a row does not say.
DEFAULTS = {
    "image": "debian",
    "status": "0",  # the exit status that says that the script did its work
    "where": "ch-run",  # or RUN: under `ch-image build`
    "seconds": "60",  # the limit
    "look": "",  # more directories where the row makes files
    "long": "no",  # yes: only with --long
    "differs": "",  # why both sides can't be equal; the page of results prints it
}


@dataclass(frozen=True)
class Row:
    """A script, and what is known of it; the keys of ``options`` are those of DEFAULTS."""

    family: str
    name: str
    script: str
    options: Mapping[str, str] = field(default_factory=lambda: DEFAULTS)

    @property
    def is_long(self) -> bool:
        """Tell whether the row runs only with --long."""
        return self.options["long"] == "yes"

    def __str__(self) -> str:
        return f"{self.family}/{self.name}"


def all_rows() -> list[Row]:
    """Read all rows, in the order of the files' names and within them."""
    return [row for path in sorted(DIRECTORY.glob("*.sh")) for row in parse(path)]


def parse(path: Path) -> Iterator[Row]:
    """Read the rows of a family; raise ValueError for a key that does not exist."""
    _, *texts = re.split(r"^## (?=[\w.+-]+$)", path.read_text(), flags=re.MULTILINE)
    for text in texts:
        name, _, rest = text.partition("\n")
        options = dict(DEFAULTS)
        while match := re.match(r"## (\w+): (.*)\n", rest):
            key, value = match.groups()
            if key not in DEFAULTS:
                raise ValueError(f"{path.name}: {name}: no such key: {key}")
            options[key] = value
            rest = rest[match.end() :]
        yield Row(path.stem, name, rest.strip("\n") + "\n", options)
