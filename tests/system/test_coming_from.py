"""The pages for users of other programs: every command of Sundog there works as it stands."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.image.registry.servers import InProcessRegistry
from tests.system.pages import Command, Reader, make_programs

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.slow

HOW_TO = CHECKOUT / "docs" / "how-to"
PODMAN = (HOW_TO / "coming-from.md", "podman and Docker", "podman ")
PEERS = (
    PODMAN,
    (HOW_TO / "apptainer.md", "Commands", "apptainer "),
    (HOW_TO / "coming-from.md", "Charliecloud", "ch-"),
)
DOCKERFILE = """\
FROM debian:trixie
ARG VERSION=1
CMD ["true"]
"""
DOCKERFILE_TEST = """\
FROM debian:trixie AS test
RUN echo tested >/tested
FROM test
RUN false
"""


def rows(page: Path, title: str) -> list[tuple[str, str]]:
    """Return the rows of the table below a heading: the peer's cell, and ours."""
    text = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.M | re.S)
    assert text is not None
    found = re.findall(r"^\| (`.*) \| (.*) \|$", text[1], re.M)
    assert found
    return found


@pytest.fixture
def registry() -> Generator[InProcessRegistry]:
    with InProcessRegistry().serve() as registry:
        yield registry


@pytest.fixture
def reader(tmp_path: Path, busybox_tar: Path, registry: InProcessRegistry) -> Reader:
    """Return a reader with the files that the page names; debian:trixie is in the registry."""
    place, scratch = tmp_path / "place", tmp_path / "scratch"
    place.mkdir()
    scratch.mkdir()
    (place / "rootfs.tar").symlink_to(busybox_tar)
    (place / "variables").write_text("A=b\n")
    (place / "Dockerfile").write_text(DOCKERFILE)
    (place / "Dockerfile.test").write_text(DOCKERFILE_TEST)
    names = {"/scratch": str(scratch), "registry.example.com": registry.host}
    reader = Reader(place, make_programs(tmp_path / "bin"), names)
    host, _, port = registry.host.partition(":")
    reader.environment |= {
        "CH_IMAGE_STORAGE": str(tmp_path / "storage"),
        "CH_REGY_DEFAULT_HOST": host,
        "CH_REGY_DEFAULT_PORT": port,
    }
    for line in (
        "ch-image import rootfs.tar x",
        f"ch-image push x {registry.host}/debian:trixie",
        "ch-image reset",
    ):
        reader.run(Command(line, ()))
    return reader


def test_every_command_works(reader: Reader) -> None:
    seen = 0
    for page, title, peer in PEERS:
        if title == "Charliecloud":
            assert subprocess.run(["ch-run", "--version"], check=False).returncode == 0
        for theirs, ours in rows(page, title):
            assert theirs.startswith(f"`{peer}")
            lines = re.findall(r"`(ch-[^`]*)`", ours)
            assert lines, ours
            for line in lines:
                reader.run(Command(line, ()))
                seen += 1
    assert seen > 40


def test_the_lines_of_podman_work_with_sundog(reader: Reader) -> None:
    """But for `exec`, which needs a container that runs: tests/front/cli/test_sundog.py."""
    page, title, _ = PODMAN
    for theirs, _ in rows(page, title):
        line = theirs.strip("`").replace("podman ", "sundog ", 1)
        if line.startswith("sundog exec "):
            continue
        reader.run(Command(line, ()))
