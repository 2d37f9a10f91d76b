"""Where the commands of an installation are found: beside the one that runs, above all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sundog.installation import own_command
from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_beside_the_command_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbolic link to a command leads to the installation that it belongs to."""
    there = tmp_path / "there"
    there.mkdir()
    for name in ("ch-run", "ch-test"):
        (there / name).touch(0o755)
    (tmp_path / "ch-test").symlink_to(there / "ch-test")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "ch-test")])
    assert own_command("ch-run") == [str(there / "ch-run")]
    monkeypatch.setattr(sys, "argv", [str(there / "another-program")])
    assert own_command("ch-run") == command("ch-run")


def test_modules_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sundog.installation.__file__", str(tmp_path / "a/b/c/d/e.py"))
    monkeypatch.setattr(sys, "argv", ["x"])
    assert own_command("ch-run") == [str(tmp_path / "python"), "-m", "sundog.launcher"]
