"""Paths of images in storage directories are recognised by their text."""

import os
from pathlib import Path

import pytest

from sundog.base.record.stored_path import path_in_storage

APP = "docker.io/library/app:latest"


@pytest.fixture
def storage(tmp_path: Path) -> bytes:
    (tmp_path / "images/docker.io%library%app+latest/root").mkdir(parents=True)
    (tmp_path / "version").touch()
    return os.fsencode(tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        *("img/app", "img/app+latest", "img/docker.io%library%app+latest", "img/docker.io%app"),
        *("images/docker.io%library%app+latest", "images/docker.io%library%app+latest/root"),
        *("img//app/", "./img/./app/.", "/images/app/root//"),
    ],
)
def test_paths(storage: bytes, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_in_storage(storage + b"/" + place.encode()) == (storage, APP)
    monkeypatch.chdir(os.fsdecode(storage))
    assert path_in_storage(b"./" + place.lstrip("/").encode()) == (storage, APP)


@pytest.mark.parametrize(
    "place",
    [
        *("img/other", "img/App", "img/a\xff", "img/app/ch", "img", "img/", "images", "layers/app"),
        *("img/app/root", "img/..", "img/root", "images/root", "app"),
    ],
)
def test_other_paths(storage: bytes, place: str) -> None:
    assert path_in_storage(storage + b"/" + os.fsencode(place)) is None


def test_a_directory_without_a_version_is_no_storage(storage: bytes) -> None:
    os.unlink(storage + b"/version")
    assert path_in_storage(storage + b"/img/app") is None


def test_only_the_paths_of_images_cost_a_look(
    storage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    monkeypatch.setattr(os, "stat", asked.append)
    for word in (b"/", b"//", b"app", b"/img", b"/a/b", b"img", b"img/", b"/root", storage, b""):
        assert path_in_storage(word) is None
    assert asked == []
