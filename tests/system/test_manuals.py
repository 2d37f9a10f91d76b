"""The manual pages: well-formed, and with an entry for each option."""

from __future__ import annotations

import re
import subprocess

import pytest
from scripts.place import CHECKOUT

from sundog.cli import (
    checkns_arguments,
    convert_arguments,
    fromhost_arguments,
    selftest_arguments,
)
from sundog.launcher.help import OPTIONS
from sundog.oci_runtime.arguments import COMMANDS, GLOBAL
from tests.launcher.installation import load_packaging

CH_RUN = (CHECKOUT / "docs" / "man" / "ch-run.1").read_text()
CH_RUN_OCI = (CHECKOUT / "docs" / "man" / "ch-run-oci.1").read_text()
# The commands whose options argparse knows.
PARSERS = {
    "ch-checkns": checkns_arguments.make_parser,
    "ch-convert": convert_arguments.make_parser,
    "ch-fromhost": fromhost_arguments.make_parser,
    "ch-test": selftest_arguments.make_parser,
}
PAGES = {name: (CHECKOUT / "docs" / "man" / f"{name}.1").read_text() for name in PARSERS}
# tests/cli/test_manual.py tests that the document is complete and right.
DOCUMENT = (CHECKOUT / "docs" / "ch-image.md").read_text()
CH_IMAGE = load_packaging("manual_page").page(DOCUMENT)


def formatted(page: str) -> str:
    """Return the output of man(1); a warning fails the test."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-cbou"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "page",
    [CH_RUN, CH_IMAGE, CH_RUN_OCI, *PAGES.values()],
    ids=["ch-run", "ch-image", "ch-run-oci", *PAGES],
)
def test_page_is_formatted_without_a_warning(page: str) -> None:
    formatted(page)


@pytest.mark.parametrize(("short", "long"), [(short, long) for short, long, *_ in OPTIONS])
def test_every_option_of_ch_run_has_its_entry(short: str, long: str) -> None:
    entries = [entry.replace("=", " ").replace("[", " ").split() for entry in _entries(CH_RUN)]
    assert any(f"--{long}" in entry for entry in entries)
    assert not short or any(f"-{short}" in entry for entry in entries)


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_has_its_entry(name: str) -> None:
    entries = re.sub(r"\\fP|\\fR", " ", " ".join(_entries(PAGES[name])))
    words = re.findall(r"(?<!\S)--?[a-z-]+", entries.replace("\\ ", " ").replace(".BI", " "))
    for action in PARSERS[name]()._actions:
        for option in action.option_strings:
            assert option in words


def test_every_command_and_option_of_ch_run_oci_has_its_entry() -> None:
    text = CH_RUN_OCI.replace("\\-", "-")
    for name, (options, *_) in COMMANDS.items():
        assert re.search(rf"^\.BI? {name}\b", text, re.MULTILINE), name
        for option in options:
            assert f"--{option}" in text, option
    for option in GLOBAL:
        assert f"--{option}" in text, option


def test_page_of_ch_image_has_all_of_the_document() -> None:
    lines = DOCUMENT.splitlines()
    titles = {at - 1 for at, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for at, line in enumerate(lines) if line.startswith("| ") and at not in titles]
    tags = [row.split(" | ")[0].strip("| ").replace("`", "").replace("…", "...") for row in rows]
    assert _entries(CH_IMAGE) == tags
    shown = [line.strip() for line in formatted(CH_IMAGE).splitlines()]
    fenced = "".join(DOCUMENT.split("```\n")[1::2]).replace("…", "...")
    assert "ch-image build [OPTION...] CONTEXT\n" in fenced
    assert {line.strip() for line in fenced.splitlines()} <= set(shown)
    headings = {line.strip("# ") for line in DOCUMENT.splitlines() if line.startswith("### ")}
    assert headings <= set(shown)


def _entries(page: str) -> list[str]:
    """Return the tags of a page's paragraphs, without markup."""
    lines = page.splitlines()
    tags = [lines[at + 1] for at, line in enumerate(lines) if line.startswith(".TP")]
    for markup in (".BR ", ".B ", "\\fI", "\\fR", "\\fB", '"'):
        tags = [tag.replace(markup, "") for tag in tags]
    return [tag.replace("\\-", "-") for tag in tags]
