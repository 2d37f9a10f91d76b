"""A Slurm cluster of four nodes, and images for its jobs."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts import flux, openpbs, pyxis
from scripts.place import CHECKOUT

from tests.conftest import HELPER, RootHelper, base_image, command, skip_needs_root

if TYPE_CHECKING:
    from collections.abc import Mapping

# Only `make pyxis` and its like have what these tests need.
RARE = {
    flux.VARIABLE: "test_flux.py",
    openpbs.VARIABLE: "test_openpbs.py",
    pyxis.VARIABLE: "test_pyxis.py",
}
collect_ignore = [name for variable, name in RARE.items() if variable not in os.environ]

Done = subprocess.CompletedProcess[str]
IMAGE = "mpi"
# Open MPI 5.0.7 dies here if a message comes by TCP while MPI_Init still waits for others.  On four
# nodes with more ranks than cores that ends a quarter of the runs, with and without a container.
OPEN_MPI_FAULT = "mca_pml_ob1_recv_frag_callback_match"
ATTEMPTS = 8
SMALL = "small"

BUNDLES, IMAGES = range(2)  # the recipes of oci.conf in docs/how-to/slurm.md, in their order


@dataclass(frozen=True)
class Place:
    """A directory that all nodes share, with a storage of two images and a file of one of them."""

    directory: Path
    variables: Mapping[str, str]

    @property
    def file(self) -> Path:
        """Return the SquashFS file of the small image."""
        return self.directory / "small.sqfs"

    @property
    def programs(self) -> str:
        """Return the directory of Sundog's commands."""
        return self.variables["PATH"].partition(":")[0]

    def run(
        self,
        *words: str | Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Done:
        """Run a program in an environment that names the storage, and the cluster if it runs."""
        done = subprocess.run(
            list(map(str, words)),
            env={**self.variables, **(env or {})},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def ranks(self, *words: str | Path, count: int) -> list[str]:
        """Run ranks of the image's program, all of which must be right; return their nodes.

        Repeats what Open MPI's own fault has ended.
        """
        done = self.run(*words, check=False)
        for _ in range(ATTEMPTS):
            if not done.returncode or OPEN_MPI_FAULT not in done.stderr:
                break
            done = self.run(*words, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return right_ranks(done.stdout, count)


def right_ranks(said: str, count: int) -> list[str]:
    """Check what the ranks of the image's program said; return their nodes."""
    found = [line.split() for line in said.splitlines() if line.startswith("rank ")]
    assert sorted(int(line[1]) for line in found) == [*range(count)], said
    assert all(line[3] == str(count) and line[-1] == "right" for line in found), said
    return [line[5] for line in found]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return the place that all of pytest's processes share; the first process makes it."""
    directory = tmp_path_factory.getbasetemp().parent / "cluster"
    directory.mkdir(exist_ok=True)
    (program,) = command("ch-run")
    variables = {
        "CH_IMAGE_STORAGE": str(directory / "storage"),
        "HOME": str(directory),
        "PATH": f"{Path(program).parent}:/usr/bin:/bin",
        "USER": os.environ.get("USER", "sundog"),
    }
    place = Place(directory, variables)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.file.exists():
            for name, base in ((SMALL, "busybox"), (IMAGE, "mpi")):
                place.run("ch-image", "import", base_image(base), name)
            place.run("ch-convert", SMALL, place.file)
    return place


def recipe(place: Place, number: int) -> str:
    """Return an oci.conf of docs/how-to/slurm.md, with the paths of programs and storage."""
    text = (CHECKOUT / "docs/how-to/slurm.md").read_text()
    found: str = re.findall(r"```\n# oci\.conf.*?\n(.*?)```", text, re.DOTALL)[number]
    found = found.replace('"ch-run-oci ', '"exec ch-run-oci ').replace(
        "exec ch-", f"exec {place.programs}/ch-"
    )
    storage = place.variables["CH_IMAGE_STORAGE"]
    return found.replace("ch-run --", f"ch-run --storage={storage} --")


@dataclass(frozen=True)
class Slurm(Place):
    """The same, with $SLURM_CONF; ``nodes`` are the names of the nodes.

    ``address`` is the one at which the nodes reach servers outside of them.
    """

    nodes: tuple[str, ...]
    address: str


@pytest.fixture(scope="session")
def slurm(place: Place) -> Slurm:
    return started(place, oci=recipe(place, IMAGES))


@pytest.fixture(scope="session")
def slurm_with_bundles(place: Place) -> Slurm:
    return started(place, oci=recipe(place, BUNDLES))


def started(place: Place, **wanted: str) -> Slurm:
    """Return the cluster with an oci.conf, or with pyxis and an importer."""
    if not HELPER:
        skip_needs_root()
    answer = RootHelper(HELPER).ask("start-cluster", **wanted)
    if "lacking" in answer:
        pytest.fail(answer["lacking"])
    variables = {**place.variables, "SLURM_CONF": answer["configuration"]}
    return Slurm(place.directory, variables, tuple(answer["nodes"]), answer["address"])
