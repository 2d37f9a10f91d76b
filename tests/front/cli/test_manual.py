"""docs/reference/ch-image.md describes every subcommand and each of its options."""

from __future__ import annotations

import argparse
import re

import pytest
from scripts.place import CHECKOUT

from sundog.front.cli.image_arguments import _parser

MANUAL = CHECKOUT / "docs/reference/ch-image.md"


def subcommands() -> dict[str, argparse.ArgumentParser]:
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


def section(title: str) -> str:
    """Return the text below the headings that name the subcommand."""
    parts = re.split(r"^#+ (.*)$", MANUAL.read_text(), flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return "".join(text for heading, text in pairs if title in re.split("[ ,]+", heading))


@pytest.mark.parametrize("name", ["common", *subcommands()])
def test_manual_is_complete(name: str) -> None:
    parser = _parser() if name == "common" else subcommands()[name]
    text = MANUAL.read_text() if name == "common" else section(name)
    assert text
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            for option in action.option_strings:
                assert f"{option}" in text or option in ("-h", "--help"), option


def test_manual_tells_of_nothing_that_is_not_there() -> None:
    known = {
        option
        for parser in (_parser(), *subcommands().values())
        for action in parser._actions
        for option in action.option_strings
    }
    written = set(re.findall(r"(?<!RUN )(?<!ch-run )(?<![\w-])--[a-z][a-z-]+", MANUAL.read_text()))
    assert written <= known
