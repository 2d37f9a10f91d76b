"""The page of compatibility: it has all options of the reference, and says the truth about them."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.front.cli.convert_arguments import make_parser as convert_parser
from sundog.front.cli.image_arguments import _parser as image_parser
from sundog.runtime.launcher.option_scan import scan
from tests.conftest import skip_needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Runner

PAGE = (CHECKOUT / "docs" / "reference" / "compatibility.md").read_text()
ANSWERS = {"yes", "accepted", "no"}
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z?][\w-]*")


def rows(title: str) -> Iterator[list[list[str]]]:
    """Yield the rows of the tables of a section: for each cell, the words in backquotes.

    Cells without any are as they stand.
    """
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, title
    for line in section.splitlines():
        if line.startswith("| `"):
            cells = line[1:-1].split("|")
            yield [re.findall("`([^`]*)`", cell) or [cell.strip()] for cell in cells]


def options_of(title: str) -> dict[str, str]:
    """Return the answer for each option of a section with three columns."""
    return {name: row[1][0] for row in rows(title) if row[0][0].startswith("-") for name in row[0]}


def of_subcommands() -> dict[tuple[str, str], str]:
    """Return the answer for each subcommand, and for each of its options."""
    found = {}
    for row in rows("ch-image"):
        if not row[0][0].startswith("-"):
            for option in row[1]:
                found[row[0][0], option] = row[2][0]
    return found


def subcommands() -> dict[str, argparse.ArgumentParser]:
    for action in image_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


def known(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


def test_ch_run_accepts_what_the_page_says() -> None:
    for option, answer in options_of("ch-run").items():
        assert answer == "yes"
        found, *_ = scan([option.encode(), b"x"])
        assert found[0] == option[2:] or not option.startswith("--")


def test_ch_convert_accepts_what_the_page_says() -> None:
    options = options_of("ch-convert")
    assert set(options.values()) == {"yes"}
    assert options.keys() <= known(convert_parser())


def test_ch_image_accepts_what_the_page_says() -> None:
    common = options_of("ch-image")
    assert set(common.values()) == {"yes", "accepted"}
    assert common.keys() <= known(image_parser())
    parsers = subcommands()
    for (subcommand, option), answer in of_subcommands().items():
        assert answer == "yes", (subcommand, option)
        assert subcommand in parsers
        assert not option or option in known(parsers[subcommand]), (subcommand, option)


@pytest.mark.parametrize("option", ["no-lock", "xattrs", "no-xattrs", "cache-large"])
def test_accepted_options_say_why_nothing_is_to_do(run_ch_image: Runner, option: str) -> None:
    assert options_of("ch-image")[f"--{option}"] == "accepted"
    words = [f"--{option}", *(["4"] if option == "cache-large" else [])]
    (line,) = run_ch_image(*words, "list").stderr.splitlines()
    assert line.startswith(f"--{option}: nothing to do: ")


def test_commands_of_the_page_are_installed() -> None:
    commands = {row[0][0]: row[1][0] for row in rows("Commands")}
    for command, answer in commands.items():
        assert answer in ANSWERS
        if answer == "yes":
            assert Path(sys.executable).with_name(command).exists(), command


def reference_help(command: str, *arguments: str) -> str:
    """Return what the installed reference prints for --help."""
    program = f"/usr/bin/{command}"
    if not os.path.exists(program):
        skip_needs_root()
    done = subprocess.run(
        [program, *arguments, "--help"],
        env={"USER": "ada", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", ["ch-run", "ch-convert"])
def test_page_has_all_options_of_the_reference(command: str) -> None:
    listed = set(OPTION.findall(reference_help(command))) - {"--"}
    assert listed
    assert listed <= options_of(command).keys()


def test_page_has_all_subcommands_of_the_reference() -> None:
    text = reference_help("ch-image")
    common = options_of("ch-image").keys()
    assert set(OPTION.findall(text)) <= common
    names = re.findall(r"^    ([a-z-]+) ", text, re.MULTILINE)
    assert {"build", "undelete"} <= set(names)
    page = of_subcommands()
    for name in names:
        assert (name, "") in page
        options = set(OPTION.findall(reference_help("ch-image", name))) - common
        assert {(name, option) for option in options} <= page.keys()
