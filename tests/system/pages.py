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
BLOCK = re.compile(
    r"^([^\n]*)\n+(?:<!-- not run: (.+?) -->\n)?```\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
FILE = re.compile(r"(?:Write|Put)[^`]* `([\w.][\w.-]*)`")
# This machine has no cluster: programs of these names start one rank.
RANK = '#!/bin/sh\nshift 2\nexec "$@"\n'
# The wheel is installed already.
PIP = '#!/bin/sh\ntest "$1" = install\n'


@dataclass(frozen=True)
class Command:
    """A command line of a page, and its expected output."""

    line: str
    output: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A code block of a page: a session, a file, or something else."""

    text: str
    file: str  # the name that the line before gives it: "Write this to `NAME`:"
    not_run: str  # the reason that a comment gives

    @property
    def is_session(self) -> bool:
        """Tell whether it has commands and their output."""
        return self.text.startswith("$ ")


def blocks(page: Path) -> Iterator[Block]:
    """Yield a page's code blocks in order."""
    for before, reason, text in BLOCK.findall(page.read_text()):
        name = FILE.search(before) if before.endswith(":") else None
        yield Block(text, name[1] if name else "", reason)


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

    def follow(self, page: Path) -> int:
        """Do everything that a page shows; return the number of its commands."""
        seen = 0
        for block in blocks(page):
            if block.file:
                self.write(block.file, block.text)
            if block.is_session and not block.not_run:
                for step in commands(block.text):
                    self.run(step)
                    seen += 1
        return seen

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
        if step.line.startswith("export "):
            for name, value in re.findall(r"(\w+)=(\S*)", step.line):
                self.environment[name] = self.real(value)
        expected = pattern(tuple(self.real(line) for line in step.output))
        if step.output:
            assert re.fullmatch(expected, done.stdout), (step.line, done.stdout)
        elif done.returncode:
            pytest.fail(f"{step.line}: exit status {done.returncode}\n{done.stdout}")
