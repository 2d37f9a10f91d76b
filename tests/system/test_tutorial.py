"""The tutorial, executed: write its files, run its commands, compare their output.

A line that is only … stands for any lines.  The page has example names (the reader, his machine,
his scratch directory); the test replaces them with real ones.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.conftest import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

PAGE = CHECKOUT / "docs" / "tutorial.md"
# A file of the page, found by a text in it; the first match counts.
FILES = {
    "USER postgres": "Dockerfile.pg",
    "FROM ": "Dockerfile",
    "#!/usr/bin/python3": "hello.py",
}
ANYTHING = "…"
# This machine has no cluster: programs of these names start one rank.
RANK = '#!/bin/sh\nshift 2\nexec "$@"\n'


@dataclass(frozen=True)
class Command:
    """A command line of the page, and its expected output."""

    line: str
    output: tuple[str, ...]


def blocks() -> Iterator[str]:
    """Yield the page's code blocks in order."""
    for found in re.finditer(r"^```\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
        yield found[1]


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a block; the lines after a command are its output."""
    for part in block.removeprefix("$ ").split("\n$ "):
        line, *output = part.rstrip("\n").splitlines()
        yield Command(line.partition("   #")[0], tuple(output))


def pattern(output: tuple[str, ...]) -> str:
    """Return a regular expression for the expected output of a command."""
    return "".join(
        r"(?:.*\n)*" if line.strip() == ANYTHING else re.escape(line) + r"\n" for line in output
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a directory with the commands under test, a srun(1) and an mpirun(1)."""
    directory = tmp_path / "bin"
    directory.mkdir()
    texts = {
        name: f'#!/bin/sh\nexec {" ".join(command(name))} "$@"\n'
        for name in ("ch-convert", "ch-image", "ch-run")
    }
    for name, text in (texts | {"srun": RANK, "mpirun": RANK}).items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return directory


def test_everything_goes_as_shown(tmp_path: Path, programs: Path, debian_tar: Path) -> None:
    scratch, place = tmp_path / "scratch", tmp_path / "place"
    for directory in (scratch, place):
        directory.mkdir()
    (place / "debian-trixie.tar").symlink_to(debian_tar)
    names = {"node17": os.uname().nodename, "/scratch/you": str(scratch)}

    def real(text: str) -> str:
        if text == "you":
            return getpass.getuser()
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CH_IMAGE_STORAGE": str(tmp_path / "storage"),
        "LC_ALL": "C.UTF-8",
    }
    seen = 0
    for block in blocks():
        if not block.startswith("$ "):
            name = next(name for text, name in FILES.items() if text in block)
            (place / name).write_text(block)
            (place / name).chmod(0o755)
            continue
        for step in commands(block):
            done = subprocess.run(
                ["bash", "-c", real(step.line)],
                env=environment,
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if setting := re.fullmatch(r"export (\w+)=(.*)", step.line):
                environment[setting[1]] = real(setting[2])
            expected = pattern(tuple(real(line) for line in step.output))
            if step.output:
                assert re.fullmatch(expected, done.stdout), (step.line, done.stdout)
            elif done.returncode:
                pytest.fail(f"{step.line}: exit status {done.returncode}\n{done.stdout}")
            seen += 1
    assert seen >= 10
