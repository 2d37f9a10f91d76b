"""Mock root, and Debian's fakeroot as its oracle."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from tests.conftest import Completed

ORACLE = ("/usr/bin/fakeroot",)


class MockRoot:
    """Runs commands as mock root in a directory; ``words`` start the program."""

    def __init__(self, words: Sequence[str], directory: Path) -> None:
        self.words = tuple(words)
        self.directory = directory

    def __call__(self, *arguments: str | os.PathLike[str], check: bool = True) -> Completed:
        """Run the program with ``arguments``."""
        return run_program([*self.words, *arguments], check=check, cwd=self.directory)

    def sh(self, script: str, *options: str | os.PathLike[str]) -> str:
        """Run a shell script; return its output."""
        return self(*options, "--", "sh", "-euc", script).stdout


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give programs an environment in which they say the same everywhere."""
    monkeypatch.setenv("PATH", f"{os.path.dirname(command('sundog')[0])}:/usr/sbin:/usr/bin:/bin")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("FAKEROOTKEY", raising=False)


@pytest.fixture
def ours(tmp_path: Path) -> MockRoot:
    """Return ``sundog-fakeroot``."""
    return MockRoot(command("sundog-fakeroot"), tmp_path)


@pytest.fixture
def oracle(tmp_path: Path) -> MockRoot:
    """Return Debian's fakeroot."""
    return MockRoot(ORACLE, tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> MockRoot:
    """Return ``sundog root``."""
    return MockRoot([*command("sundog"), "root"], tmp_path)


@pytest.fixture(autouse=True)
def _open_directories(tmp_path: Path) -> Generator[None]:
    """Give the user back what a test has closed: pytest removes its directories."""
    yield
    run_program(["chmod", "-R", "u+rwX", tmp_path])
