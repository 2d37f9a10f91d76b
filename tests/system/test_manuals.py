"""The manual pages, as they are installed: well-formed, and with every option of ``--help``."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.place import CHECKOUT

from sundog.front.cli import (
    checkns_arguments,
    convert_arguments,
    fromhost_arguments,
    selftest_arguments,
    sundog_help,
)
from sundog.front.cli.image_arguments import _parser, _subcommands
from sundog.front.oci_runtime.arguments import COMMANDS, GLOBAL
from sundog.runtime.fakeroot.options import FAKEROOT_OPTIONS
from sundog.runtime.launcher.help import OPTIONS

PAGES = Path(sys.prefix) / "share" / "man" / "man1"
PARSERS: dict[str, argparse.ArgumentParser] = {
    "ch-checkns": checkns_arguments.make_parser(),
    "ch-convert": convert_arguments.make_parser(),
    "ch-fromhost": fromhost_arguments.make_parser(),
    "ch-image": _parser(),
    "ch-test": selftest_arguments.make_parser(),
    **{f"ch-image-{name}": parser for name, parser in _subcommands(_parser()).items()},
}
PODMAN = {
    f"sundog-{name.replace(' ', '-')}": name
    for name in sundog_help.names()
    if " " not in name or name.startswith("apptainer ")
}
NAMES = sorted([*PARSERS, *PODMAN, "ch-run", "ch-run-oci", "sundog", "sundog-fakeroot"])
# tests/front/cli/test_manual.py tests that the document is complete and right.
DOCUMENT = (CHECKOUT / "docs" / "reference" / "ch-image.md").read_text()


def page(name: str) -> str:
    return (PAGES / f"{name}.1").read_text()


def formatted(name: str) -> str:
    """Return the output of man(1); a warning fails the test."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-cbou"],
        input=page(name),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def options(name: str) -> set[str]:
    """Return the options that the help of a command lists."""
    if name == "ch-run":
        return {f"--{long}" for _, long, _, _ in OPTIONS} | {
            f"-{short}" for short, *_ in OPTIONS if short
        }
    if name == "ch-run-oci":
        return {f"--{option}" for option in GLOBAL}
    if name == "sundog":
        return {"-s", "--storage"}
    if name == "sundog-fakeroot":
        return {f"-{short}" for short, *_ in FAKEROOT_OPTIONS} | {
            f"--{long}" for _, long, *_ in FAKEROOT_OPTIONS if long
        }
    if name in PODMAN:
        *_, listed = sundog_help.described(PODMAN[name])
        return {option.names[0] for option in listed}
    return {
        option
        for action in PARSERS[name]._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
    }


def test_every_command_has_a_page() -> None:
    assert {path.stem for path in PAGES.iterdir()} >= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_page_is_formatted_without_a_warning_and_has_all_options(name: str) -> None:
    text = formatted(name)
    words = set(re.findall(r"(?<![\w-])-{1,2}[\w?][\w-]*", text))
    assert options(name) <= words, name
    for title in ("NAME", "SYNOPSIS"):
        assert f"\n{title}\n" in text
    assert re.search(rf"^ +{name} +- +[a-z].*[^.]$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "headings"),
    [
        ("ch-run", ["OPTIONS", "SHARED CONTAINERS", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"]),
        ("ch-convert", ["OPTIONS", "FORMATS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]),
    ],
)
def test_page_has_the_sections_of_its_document(name: str, headings: list[str]) -> None:
    lines = formatted(name).splitlines()
    for heading in headings:
        assert lines.count(heading) == 1


def test_every_command_and_option_of_ch_run_oci_has_its_entry() -> None:
    text = page("ch-run-oci").replace("\\-", "-")
    for name, (options, *_) in COMMANDS.items():
        assert re.search(rf"^\\fB{name}\b", text, re.MULTILINE), name
        for option in options:
            assert f"--{option}" in text, option
    for option in GLOBAL:
        assert f"--{option}" in text, option


def test_page_of_ch_image_has_all_of_the_document() -> None:
    lines = DOCUMENT.splitlines()
    titles = {at - 1 for at, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for at, line in enumerate(lines) if line.startswith("| ") and at not in titles]
    tags = [row.split(" | ")[0].strip("| ").replace("`", "").replace("…", "...") for row in rows]
    assert _entries(page("ch-image")) == tags
    shown = [line.strip() for line in formatted("ch-image").splitlines()]
    fenced = "".join(DOCUMENT.split("```\n")[1::2]).replace("…", "...")
    assert "ch-image build [OPTION...] [CONTEXT]\n" in fenced
    assert {line.strip() for line in fenced.splitlines()} <= set(shown)
    headings = {line.strip("# ") for line in DOCUMENT.splitlines() if line.startswith("### ")}
    assert headings <= set(shown)


def _entries(text: str) -> list[str]:
    """Return the tags of a page's paragraphs, without markup."""
    lines = text.splitlines()
    tags = [lines[at + 1] for at, line in enumerate(lines) if line.startswith(".TP")]
    for markup in ("\\fI", "\\fR", "\\fB"):
        tags = [tag.replace(markup, "") for tag in tags]
    return [tag.replace("\\-", "-") for tag in tags]
