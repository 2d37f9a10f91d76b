"""``builder.files.chmod`` against chmod(1)."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import BuildError
from sundog.image.builder.files.chmod import ModeChange

if TYPE_CHECKING:
    from pathlib import Path

ACTIONS = st.builds(
    str.__add__,
    st.sampled_from("+-="),
    st.one_of(st.text("rwxX", max_size=3), st.sampled_from("ugo")),
)
CLAUSES = st.builds(
    lambda who, actions: who + "".join(actions),
    st.text("ugoa", max_size=2),
    st.lists(ACTIONS, min_size=1, max_size=2),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("mode") / "file"
    path.touch()
    return path


@given(st.lists(CLAUSES, min_size=1, max_size=2).map(",".join), st.integers(0, 0o777))
@settings(max_examples=150, deadline=None)
def test_like_chmod(file: Path, text: str, mode: int) -> None:
    # FreeBSD's X uses the mode before all changes, GNU's uses the mode so far.
    if "X" in text:
        mode |= 0o100
        if "=" in text or "-" in text:
            return
    file.chmod(mode)
    script = 'umask 0; exec chmod -- "$@"'
    subprocess.run(["sh", "-c", script, "sh", text, os.fspath(file)], check=True)
    assert f"{ModeChange.parse(text).apply(mode, is_directory=False):o}" == (
        f"{file.stat().st_mode & 0o7777:o}"
    )


@pytest.mark.parametrize(
    ("text", "mode", "is_directory", "expected"),
    [
        ("+X", 0o644, False, 0o644),
        ("+X", 0o644, True, 0o755),
        ("+X", 0o654, False, 0o755),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("+s", 0o755, False, 0o6755),
        ("o+s", 0o755, False, 0o755),
        ("+t", 0o755, True, 0o1755),
        ("o+t", 0o755, True, 0o755),
        ("a-st", 0o7755, True, 0o755),
        ("u=rw", 0o4755, False, 0o655),
        ("g=rx", 0o2777, True, 0o757),
        ("=", 0o6777, False, 0),
        ("755", 0o6600, False, 0o755),
        ("7", 0o6600, False, 0o7),
        ("01777", 0o600, True, 0o1777),
    ],
)
def test_what_chmod_does_otherwise(
    text: str, mode: int, expected: int, *, is_directory: bool
) -> None:
    result = ModeChange.parse(text).apply(mode, is_directory=is_directory)
    assert f"{result:o}" == f"{expected:o}"


@pytest.mark.parametrize(
    "text", ["8", "10000", "u", "rwx", "u+rug", "+r,", ",", "u+ r", "0o7", "z+r"]
)
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(BuildError, match="--chmod: not a mode"):
        ModeChange.parse(text)
