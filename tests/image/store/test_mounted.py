"""Notes of what nodes run: which of them a command removes."""

import os
import time
from pathlib import Path

import pytest

from sundog.base.kernel.files import Closing
from sundog.base.record.running import KEPT, NOTE_FRESH, node_directory, note_run
from sundog.image.store import mounted
from sundog.image.store.mounted import forget_runs, mounted_names

NAME = b"a1b2c3d4" * 8


@pytest.fixture
def note(tmp_path: Path) -> Path:
    with Closing(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)) as storage:
        note_run(storage, [NAME])
    (note,) = (tmp_path / os.fsdecode(node_directory())).iterdir()
    return note


def grow_old(path: Path, age: float) -> None:
    then = time.time() - age
    os.utime(path, (then, then), follow_symlinks=False)


def test_a_note_that_a_start_may_rely_on_stays(tmp_path: Path, note: Path) -> None:
    """A start leaves a fresh note as it is, and mounts the image a moment later."""
    grow_old(note, NOTE_FRESH - 10)
    forget_runs(os.fsencode(tmp_path))
    assert note.is_symlink()
    grow_old(note, NOTE_FRESH + 100)
    forget_runs(os.fsencode(tmp_path))
    assert not note.is_symlink()


def test_a_note_that_a_start_has_renewed_meanwhile_stays(
    tmp_path: Path, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_old(note, NOTE_FRESH + 100)

    def look(_: set[bytes]) -> set[bytes]:
        grow_old(note, 0)
        return set()

    monkeypatch.setattr(mounted, "_mounted_here", look)
    forget_runs(os.fsencode(tmp_path))
    assert note.is_symlink()


def test_the_directory_of_a_node_that_is_no_more_goes(tmp_path: Path) -> None:
    store = os.fsencode(tmp_path)
    gone, idle, busy = (tmp_path / "running" / name for name in ("gone", "idle", "busy"))
    for directory in (gone, idle, busy):
        directory.mkdir(parents=True)
    (busy / "note").symlink_to(os.fsdecode(NAME))
    for directory in (gone, busy):
        grow_old(directory, KEPT + 10)
    assert mounted_names({NAME}, store) == {NAME}
    assert sorted((tmp_path / "running").iterdir()) == [busy, idle]
