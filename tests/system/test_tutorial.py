"""The tutorials, the README and the concepts, executed: files, commands, output."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.image.registry.servers import InProcessRegistry
from tests.system.pages import Command, Reader, make_programs

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.slow

TUTORIAL, README = CHECKOUT / "docs" / "tutorial" / "image.md", CHECKOUT / "README.md"
PIPELINE = CHECKOUT / "docs" / "tutorial" / "pipeline.md"
CONCEPTS = CHECKOUT / "docs" / "explanation" / "concepts.md"


@pytest.fixture
def registry() -> Generator[InProcessRegistry]:
    with InProcessRegistry().serve() as registry:
        yield registry


@pytest.fixture
def reader(
    tmp_path: Path, debian_tar: Path, busybox_tar: Path, registry: InProcessRegistry
) -> Reader:
    """Return a reader with a base image as a tar, a scratch directory and a registry.

    The registry has a small image in place of Alpine's.
    """
    scratch, place = tmp_path / "scratch", tmp_path / "place"
    for directory in (scratch, place):
        directory.mkdir()
    (place / "debian-trixie.tar").symlink_to(debian_tar)
    names = {
        "node17": os.uname().nodename,
        "/scratch/you": str(scratch),
        "registry.example.com": registry.host,
    }
    reader = Reader(place, make_programs(tmp_path / "bin"), names)
    host, _, port = registry.host.partition(":")
    reader.environment |= {
        "CH_IMAGE_STORAGE": str(tmp_path / "storage"),
        "CH_REGY_DEFAULT_HOST": host,
        "CH_REGY_DEFAULT_PORT": port,
    }
    for line in (
        f"ch-image import {busybox_tar} x",
        f"ch-image push x {registry.host}/alpine:3.23",
        "ch-image reset",
    ):
        reader.run(Command(line, ()))
    return reader


@pytest.mark.parametrize(("pages", "least"), [((TUTORIAL,), 20), ((CONCEPTS, README), 7)])
def test_everything_goes_as_shown(reader: Reader, pages: Sequence[Path], least: int) -> None:
    if README in pages:  # its reader can reach a registry that has Debian
        reader.run(Command("ch-image import debian-trixie.tar debian:trixie", ()))
    assert sum(map(reader.follow, pages)) >= least
