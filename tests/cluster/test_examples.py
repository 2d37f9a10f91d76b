"""The scripts of examples/ for a batch system, as its pages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.cluster.conftest import ATTEMPTS, IMAGE, OPEN_MPI_FAULT, SMALL, Slurm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
EXAMPLES = CHECKOUT / "examples"
JOB = EXAMPLES / "sbatch/job.sh"


def submit(slurm: Slurm, *words: str | Path, log: str, check: bool = True) -> str:
    """Submit a script, with its own lines for Slurm, and return what the job printed."""
    output = slurm.directory / f"{log}.log"
    slurm.run("sbatch", "--wait", f"--output={output}", *words, check=check)
    return output.read_text()


def test_a_job_makes_one_file_of_its_image(slurm: Slurm) -> None:
    line = ("sh", "-c", 'echo "rank $SLURM_PROCID of $0"', "it's all")
    for _ in range(2):
        said = submit(slurm, JOB, SMALL, *line, log="example")
        assert sorted(said.splitlines())[-4:] == [f"rank {n} of it's all" for n in range(4)]
    assert len([*slurm.directory.glob("job-*.sqfs")]) == 1
    assert "no image none" in submit(slurm, JOB, "none", "x", log="none", check=False)


@pytest.mark.parametrize(("program", "interface"), [("openmpi", "pmix"), ("mpich", "pmi2")])
def test_a_job_of_ranks(slurm: Slurm, program: str, interface: str) -> None:
    words = (f"--export=ALL,MPI={interface}", EXAMPLES / "mpi/job.sh", IMAGE)
    said, tries = OPEN_MPI_FAULT, 0
    while OPEN_MPI_FAULT in said and tries < ATTEMPTS:
        said = submit(slurm, *words, f"/usr/local/bin/ranks.{program}", log=program, check=False)
        tries += 1
    ranks = [line.split() for line in said.splitlines() if line.startswith("rank ")]
    assert sorted(int(line[1]) for line in ranks) == [0, 1, 2, 3], said
    assert all(line[-1] == "right" for line in ranks), said
