"""Search for the commands of an installation: beside the one that runs, above all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import sundog
from sundog.base import installation
from sundog.base.installation import own_command
from tests.conftest import command, run_program

if TYPE_CHECKING:
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


def test_in_the_prefix_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ``PYTHONPATH`` and no interpreter leads to them: ``pip install --prefix``."""
    module = Path(installation.__file__)
    package = tmp_path / "lib/python3.11/site-packages/sundog"
    below = module.relative_to(Path(sundog.__file__).parent)
    monkeypatch.setattr(installation, "__file__", str(package / below))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere/python"))
    monkeypatch.setattr(sys, "argv", ["x"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ch-run").touch(0o755)
    assert own_command("ch-run") == [str(tmp_path / "bin/ch-run")]


def test_modules_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(
        installation, "__file__", str(tmp_path / "lib/python3/site-packages/sundog/e.py")
    )
    monkeypatch.setattr(sys, "argv", ["x"])
    python, *options, program, packages, name, told = own_command("ch-run")
    assert (python, options) == (str(tmp_path / "python"), ["-I", "-S", "-c"])
    assert (packages, name, told) == (str(tmp_path / "lib/python3/site-packages"), "ch-run", "")
    source = str(Path(sundog.__file__).parents[1])
    done = run_program([real, *options, program, source, name, told, "-V"])
    assert done.stderr == f"{sundog.__version__}\n"
