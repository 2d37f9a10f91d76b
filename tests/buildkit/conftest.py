"""BuildKit in Docker's daemon, as a second reader and builder: `make buildkit`.

Other runs do not collect these tests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.image.pull.flavours import serving
from tests.image.seen import Tree, tree_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.conftest import Completed

SOCKET = os.environ.get("SUNDOG_BUILDKIT", "")
collect_ignore_glob = [] if SOCKET else ["test_*.py"]
PATIENCE = 600.0  # seconds for a build


@dataclass(frozen=True)
class Builders:
    """Sundog with a storage in ``place``, Docker, and a registry with an empty storage."""

    place: Path
    host: str

    def ch_image(self, *words: str | Path, check: bool = True) -> Completed:
        """Run ``ch-image``."""
        env = {"CH_IMAGE_STORAGE": str(self.place / "storage"), "TMPDIR": "/tmp"}
        line = [*command("ch-image"), *map(str, words)]
        return run_program(line, env=env, timeout=PATIENCE, check=check)

    def docker(self, *words: str | Path) -> Completed:
        """Run ``docker``."""
        env = {"HOME": str(self.place), "DOCKER_HOST": f"unix://{SOCKET}"}
        return run_program(["docker", *map(str, words)], env=env, timeout=PATIENCE)

    def directory(self, name: str, dockerfile: str) -> Path:
        """Make a build context with a Dockerfile."""
        context = self.place / name
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        return context

    def read(self, reference: str, *options: str) -> Tree:
        """Return the tree of an image as BuildKit sees it."""
        context = self.directory("reads", f"FROM {reference}\n")
        out = self.place / "read.tar"
        out.unlink(missing_ok=True)
        self.docker("buildx", "build", "--pull", *options, f"--output=type=tar,dest={out}", context)
        return tree_of(out)


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Generator[Builders]:
    place = tmp_path_factory.mktemp("builders")
    with serving(place, "registry", {}, {}) as host:
        yield Builders(place, host)
