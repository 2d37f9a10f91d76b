"""Two nodes that share what a server exports by NFS 3 and 4.2, in virtual machines: `make cluster`.

Other runs do not collect these tests.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.vm import nfs, prepared
from scripts.vm.image import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.vm.machine import Done

MACHINES = os.environ.get("SUNDOG_MACHINES", "")
collect_ignore_glob = [] if MACHINES else ["test_*.py"]


@dataclass(frozen=True)
class Place:
    """A directory that both nodes have by one version of NFS, with a storage directory in it."""

    site: nfs.Site
    directory: Path

    @property
    def storage(self) -> Path:
        """Return the storage directory."""
        return self.directory / "storage"

    def run(
        self,
        node: int,
        *words: str | Path,
        check: bool = True,
        text: str = "",
        timeout: float = 300,
    ) -> Done:
        """Run a command of the ordinary user on a node, in the directory."""
        env = {
            "CH_IMAGE_STORAGE": str(self.storage),
            "HOME": f"/home/{USER}",
            "PATH": f"{prepared.SUNDOG}/bin:/usr/bin:/bin",
            "USER": USER,
        }
        return self.site.nodes[node].run(
            *words,
            user=USER,
            env=env,
            cwd=str(self.directory),
            text=text,
            check=check,
            timeout=timeout,
        )

    def forget(self, node: int) -> None:
        """Mount NFS anew on a node, so that its caches are empty."""
        self.site.nodes[node].run("umount", *(nfs.mounted(version) for version in nfs.VERSIONS))
        self.site.mount(node)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nfs.Site]:
    # The paths of Unix sockets are short.
    directory = tmp_path_factory.getbasetemp().parent / "vm"
    with nfs.running(prepared.given(Path(MACHINES), directory)) as running:
        yield running


@pytest.fixture(params=nfs.VERSIONS)
def place(site: nfs.Site, request: pytest.FixtureRequest) -> Place:
    name = re.sub(r"\W", "-", request.node.name)
    place = Place(site, nfs.mounted(request.param) / name)
    site.nodes[0].run("mkdir", place.directory, user=USER)
    return place
