"""Real root runs Sundog like any user: in a user namespace, without $USER and $HOME."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Completed

pytestmark = pytest.mark.needs_root


def _outcome(as_root: dict[str, Completed], start: str) -> Completed:
    (done,) = [done for command, done in as_root.items() if command.startswith(start)]
    assert done.returncode == 0, done.stderr
    return done


def test_storage_is_named_after_root(as_root: dict[str, Completed]) -> None:
    assert _outcome(as_root, "ch-image gestalt").stdout == "/var/tmp/root.sundog\n"


def test_import_and_build(as_root: dict[str, Completed]) -> None:
    _outcome(as_root, "ch-image --storage STORAGE import")
    built = _outcome(as_root, "ch-image --storage STORAGE build")
    assert "grown in 2 instructions: built" in built.stderr
    assert _outcome(as_root, "ch-image --storage STORAGE list").stdout.split() == ["bb", "built"]


def test_run_is_in_a_namespace_of_one_user(as_root: dict[str, Completed]) -> None:
    *mapping, who = _outcome(as_root, "ch-run -s STORAGE built").stdout.split()
    assert mapping == ["0", "0", "1"]
    assert who == "0"


def test_what_is_written_goes_with_the_run(as_root: dict[str, Completed]) -> None:
    assert "who" not in _outcome(as_root, "ch-run -s STORAGE -W").stdout.split()
