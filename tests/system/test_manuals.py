"""The manual pages: well-formed, and an entry for each option that there is."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.launcher.options import OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

PAGES = CHECKOUT / "docs" / "man"


@pytest.mark.parametrize("page", sorted(PAGES.iterdir()), ids=lambda page: page.name)
def test_page_is_formatted_without_a_warning(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("short", "long"), [(short, long) for short, long, *_ in OPTIONS])
def test_every_option_of_ch_run_has_its_entry(short: str, long: str) -> None:
    entries = _entries("ch-run.1")
    assert any(f"--{long}" in entry.split() for entry in entries)
    assert not short or any(f"-{short}" in entry.split() for entry in entries)


def _entries(page: str) -> list[str]:
    """Return the tags of a page's paragraphs, without markup."""
    lines = (PAGES / page).read_text().splitlines()
    tags = [lines[at + 1] for at, line in enumerate(lines) if line.startswith(".TP")]
    for markup in (".BR ", ".B ", "\\fI", "\\fR", "\\fB", '"'):
        tags = [tag.replace(markup, "") for tag in tags]
    return [tag.replace("\\-", "-").replace("=", " ").replace("[", " ") for tag in tags]
