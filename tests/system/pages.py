"""Pages of the documentation as programs: their files, their commands, and the expected output.

A line that is only … stands for any lines.  Pages have example names (the reader, his machine, his
scratch directory); the tests replace them with real ones.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ANYTHING = "…"
# This machine has no cluster: programs of these names start one rank.
RANK = '#!/bin/sh\nshift 2\nexec "$@"\n'
# The wheel is installed already.
PIP = '#!/bin/sh\ntest "$1" = install\n'


@dataclass(frozen=True)
class Command:
    """A command line of a page, and its expected output."""

    line: str
    output: tuple[str, ...]


def blocks(page: Path) -> Iterator[str]:
    """Yield a page's code blocks in order."""
    for found in re.finditer(r"^```\n(.*?)^```$", page.read_text(), re.M | re.S):
        yield found[1]


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a block; the lines after a command are its output."""
    for part in block.removeprefix("$ ").split("\n$ "):
        line, *output = part.rstrip("\n").splitlines()
        yield Command(line.partition("   #")[0].rstrip(), tuple(output))


def pattern(output: tuple[str, ...]) -> str:
    """Return a regular expression for the expected output of a command."""
    return "".join(
        r"(?:.*\n)*" if line.strip() == ANYTHING else re.escape(line) + r"\n" for line in output
    )


def make_programs(directory: Path) -> Path:
    """Fill a directory with the commands under test, a srun(1), a mpirun(1) and a pip."""
    directory.mkdir()
    texts = {
        name: f'#!/bin/sh\nexec {" ".join(command(name))} "$@"\n'
        for name in ("ch-convert", "ch-image", "ch-run", "sundog")
    }
    for name, text in (texts | {"srun": RANK, "mpirun": RANK, "pip": PIP}).items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return directory


@dataclass
class Reader:
    """Follows a page in ``place``: writes its files and runs its commands.

    ``names`` are the page's example names and the real ones.
    """

    place: Path
    programs: Path
    names: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=lambda: {**os.environ})

    def __post_init__(self) -> None:
        self.environment["PATH"] = f"{self.programs}:{os.environ['PATH']}"
        self.environment["LC_ALL"] = "C.UTF-8"

    def real(self, text: str) -> str:
        """Return a text with the real names."""
        if text == "you":
            return getpass.getuser()
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def write(self, name: str, text: str) -> None:
        """Write an executable file of the page."""
        (self.place / name).write_text(text)
        (self.place / name).chmod(0o755)

    def run(self, step: Command) -> None:
        """Run a command; compare its output, or if the page shows none, its exit status."""
        done = subprocess.run(
            ["bash", "-c", self.real(step.line)],
            env=self.environment,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if setting := re.fullmatch(r"export (\w+)=(.*)", step.line):
            self.environment[setting[1]] = self.real(setting[2])
        expected = pattern(tuple(self.real(line) for line in step.output))
        if step.output:
            assert re.fullmatch(expected, done.stdout), (step.line, done.stdout)
        elif done.returncode:
            pytest.fail(f"{step.line}: exit status {done.returncode}\n{done.stdout}")
