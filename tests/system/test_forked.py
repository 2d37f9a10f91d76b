"""A fork that is a command does what a start of it does (tests/forked.py)."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

LINES = (
    ["list"],
    ["list", "--format=json", "*"],
    ["inspect", "\udcff\u011b"],
    ["build", "--help"],
    ["--no-such-option"],
    ["--version"],
    ["gestalt", "storage-path"],
    ["build", "-t", "x", "."],
)


def test_it_says_the_same(storage: Path, bb: str, tmp_path: Path) -> None:
    assert bb
    (tmp_path / "Dockerfile").write_text("FROM bb\nRUN umask; env | sort; pwd; exit 3\n")
    said = [
        [
            (done.returncode, done.stdout, done.stderr)
            for words in LINES
            for done in [run(*words, check=False, cwd=tmp_path, env={"NEW": "a\nb"})]
        ]
        for run in (runner("ch-image", storage), runner("ch-image", storage, starts=True))
    ]
    assert said[0] == said[1]


def test_directory_and_umask_are_those_of_the_test(
    bb: str, run_ch_image: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    before = os.umask(0o027)
    try:
        run_ch_image("save", "-o", "saved", bb)
    finally:
        os.umask(before)
    assert (tmp_path / "below/saved").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("variable", ["LC_ALL", "PYTHONHASHSEED", "LD_PRELOAD", "TZ"])
def test_what_only_a_start_sees_needs_one(variable: str) -> None:
    assert forked.can_be("ch-image", os.environ)
    assert not forked.can_be("ch-image", os.environ | {variable: "new"})
    assert not forked.can_be("ch-run", os.environ)


def test_one_that_takes_too_long_is_killed(bb: str, run_ch_image: Runner, tmp_path: Path) -> None:
    marker = f"sleep 98762{os.getpid()}"
    (tmp_path / "Dockerfile").write_text(f"FROM {bb}\nRUN {marker}\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run_ch_image("build", "-t", "x", tmp_path, timeout=1)
    assert run_ch_image("list").stdout == "bb\n"
