"""Write the files about all commands: completion and manual pages.

``python command_files.py CHECKOUT DIRECTORY`` writes them below DIRECTORY, by their paths below
``share/`` of an installation.  The build of the wheel runs this in a process of its own, because
the tables of the command lines are modules of the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import completion
import manual_page
from command_lines import COMMANDS, PAGES


def write(checkout: Path, directory: Path) -> None:
    """Write the files of all commands."""
    files: dict[str, str] = {}
    for name, make in COMMANDS.items():
        line = make()
        files |= completion.files(line) | manual_page.pages(line, document(checkout, f"{name}.md"))
    for name, make in PAGES.items():
        files |= manual_page.pages(make(), document(checkout, name))
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")


def document(checkout: Path, name: str) -> str:
    """Return the document of a command; an empty text if there is none."""
    path = checkout / "docs" / "reference" / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.path.insert(0, f"{sys.argv[1]}/src")
    write(Path(sys.argv[1]), Path(sys.argv[2]))
