"""A place for trees, which the fixture removes whatever modes they have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.image.layer.remove import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[bytes]:
    path = os.fsencode(tmp_path / "place")
    os.mkdir(path)
    yield path
    remove_tree(path)


@pytest.fixture
def tree(place: bytes) -> bytes:
    path = os.path.join(place, b"tree")
    os.mkdir(path)
    return path
