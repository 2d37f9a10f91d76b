"""Byte code that ``import`` made stays valid in archives whose times have a limit."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog.image.layer.write_tar import write_tar

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1_000_000_000
YOUNG = 1_700_000_000
SOURCE = "VALUE = 1\n"


def python(directory: Path, *options: str) -> str:
    """Import the module ``m`` in a directory; return what the interpreter says of that."""
    done = subprocess.run(
        [sys.executable, "-B", *options, "-c", "import m; print(m.VALUE)"],
        cwd=directory,
        env={"PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def is_valid(directory: Path) -> bool:
    """Tell whether Python takes the byte code of ``m``."""
    return f"# code object from '{directory}/__pycache__/m." in python(directory, "-v")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with the module ``m``, which is young, and its byte code."""
    path = tmp_path / "tree"
    path.mkdir()
    write(path, SOURCE)
    subprocess.run([sys.executable, "-c", "import m"], cwd=path, env={}, check=True)
    assert list((path / "__pycache__").iterdir())
    return path


def write(directory: Path, text: str, seconds: int = YOUNG) -> None:
    (directory / "m.py").write_text(text)
    os.utime(directory / "m.py", (seconds, seconds))


def unpacked(tree: Path, to: Path, *below: Path, clamp: int | None = LIMIT) -> Path:
    out = io.BytesIO()
    trees = [os.fsencode(path) for path in below]
    write_tar(out, os.fsencode(tree), {}, mtime_clamp=clamp, below=trees)
    to.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xC", to], input=out.getvalue(), check=True)
    return to


def test_it_stays_valid(tree: Path, tmp_path: Path) -> None:
    found = unpacked(tree, tmp_path / "out")
    assert os.stat(found / "m.py").st_mtime == LIMIT
    assert is_valid(found)
    # It depends on the contents of the source: another one of the same size and time is compiled.
    write(found, SOURCE.replace("1", "2"), LIMIT)
    assert not is_valid(found)
    assert python(found) == "2\n"


def test_source_in_a_layer_below(tree: Path, tmp_path: Path) -> None:
    upper, found = tmp_path / "upper", tmp_path / "out"
    upper.mkdir()
    (tree / "__pycache__").rename(upper / "__pycache__")
    unpacked(tree, found)
    unpacked(upper, found, tree)
    assert is_valid(found)


def test_what_is_not_valid_does_not_become_so(tree: Path, tmp_path: Path) -> None:
    write(tree, SOURCE.replace("1", "2"), YOUNG + 1)
    found = unpacked(tree, tmp_path / "out")
    assert not is_valid(found)
    assert python(found) == "2\n"


@pytest.mark.parametrize("change", ["no limit", "old", "other", "short"])
def test_other_files_stay_as_they_are(tree: Path, tmp_path: Path, change: str) -> None:
    (cached,) = (tree / "__pycache__").iterdir()
    data = cached.read_bytes()
    if change == "other":  # of an interpreter with another hash
        data = (3439).to_bytes(2, "little") + data[2:]
    if change == "short":
        data = data[:15]
    cached.write_bytes(data)
    if change == "old":
        write(tree, SOURCE, LIMIT - 1)
    found = unpacked(tree, tmp_path / "out", clamp=None if change == "no limit" else LIMIT)
    assert (found / "__pycache__" / cached.name).read_bytes() == data
