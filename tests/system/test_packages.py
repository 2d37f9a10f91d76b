"""The messages for a user who lacks a package: the workshop installs nothing for him."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from scripts import packages
from scripts.place import CHECKOUT, WorkshopError

if TYPE_CHECKING:
    from pathlib import Path


def test_one_line_names_all_that_is_missing() -> None:
    with pytest.raises(WorkshopError) as caught:
        packages.require(["no-such-package", "dpkg", "nor-this-one"])
    assert str(caught.value) == (
        "missing on this machine: no-such-package nor-this-one\n"
        "hint: as root: apt-get install -y --no-install-recommends no-such-package nor-this-one"
    )


def test_nothing_is_said_where_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    packages.require(["dpkg", "apt"])
    assert capsys.readouterr() == ("", "")


def test_elsewhere_than_on_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(WorkshopError, match="no dpkg-query in PATH"):
        packages.require(["dpkg"])


@pytest.mark.parametrize("script", ["scripts.demo", "scripts.check"])
def test_make_stops_with_that_line(script: str, tmp_path: Path) -> None:
    """The whole command of `make demo` and `make test`, with a dpkg that knows no package."""
    query = tmp_path / "dpkg-query"
    query.write_text("#!/bin/sh\nexit 1\n")
    query.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-B", "-m", script],
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: missing on this machine: ")
    assert hint.startswith("hint: as root: apt-get install -y --no-install-recommends ")
    assert done.stdout == ""
