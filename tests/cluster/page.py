"""The lines that docs/how-to/schedulers.md shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.place import CHECKOUT

from tests.cluster.conftest import SMALL
from tests.system.pages import blocks, commands

if TYPE_CHECKING:
    from tests.cluster.conftest import Place

PAGE = CHECKOUT / "docs/how-to/schedulers.md"
PROGRAM = "hostname"


def shown(*programs: str) -> list[str]:
    """Return the lines of the page that begin with one of these programs."""
    found = (
        step.line for block in blocks(PAGE) if block.is_session for step in commands(block.text)
    )
    return [line for line in found if line.split()[0] in programs]


def real(line: str, place: Place, **more: str) -> list[str]:
    """Return the words of a line, with real names in place of the page's."""
    names = {"app.sqfs": str(place.file), "app": SMALL, "./program": PROGRAM, **more}
    return [names.get(word, word) for word in line.split()]
