"""Files appear as a whole or not at all, even if something fails meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.drafts import Replacing, replace_file
from sundog.base.kernel.process import Umask

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_and_has_exactly_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a longer old text")
    for umask, mode in ((0o777, 0o644), (0, 0o600)):
        with Umask(umask):
            replace_file(os.fsencode(path), b"new", mode=mode)
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o7777 == mode
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file(b"file", b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_the_directory_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    replace_file(os.fsencode(tmp_path / "link/file"), b"new")
    assert (tmp_path / "real/file").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(os.fsencode(tmp_path / "directory"), b"new")
    with pytest.raises(FileNotFoundError):
        replace_file(os.fsencode(tmp_path / "nowhere" / "file"), b"new")
    assert os.listdir(tmp_path) == ["directory"]


def test_an_interrupt_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path, draft = tmp_path / "file", tmp_path / "draft"
    path.write_text("old")

    def write_half() -> None:
        with Replacing(os.fsencode(path), os.fsencode(draft)):
            draft.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_contents_are_synced_before_the_rename_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    events: list[object] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        events.append(("fsync", os.path.isdir(f"/proc/self/fd/{fd}")))
        real_fsync(fd)

    def rename(old: bytes, new: bytes) -> None:
        events.append("rename")
        real_rename(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    replace_file(os.fsencode(path), b"new")
    assert events == [("fsync", False), "rename", ("fsync", True)]
