"""What the variables of schedulers and of MPI tell of the processes on this node."""

from __future__ import annotations

import os

import pytest

from sundog.base.record.hashed import hashed
from sundog.runtime.container.local_ranks import group_names, local_tasks, size_names

PARENT = b"%d" % os.getppid()
FLUX = {b"FLUX_JOB_ID": b"\xc6\x92Mjn2", b"FLUX_URI": b"local:///tmp/flux-a/local-0"}
SLURM = {b"SLURM_STEP_ID": b"0", b"SLURM_JOB_ID": b"7"}
PBS = {b"PBS_JOBID": b"7[2].server"}


@pytest.mark.parametrize(
    ("variables", "group"),
    [
        ({}, (PARENT, b"", "getppid(2)")),
        (SLURM, (b"0", b"7", "SLURM_STEP_ID")),
        ({b"SLURM_STEP_ID": b"0"}, (b"0", b"", "SLURM_STEP_ID")),
        ({b"SLURM_JOB_ID": b"7"}, (PARENT, b"", "getppid(2)")),
        (FLUX, (b"\xc6\x92Mjn2", b"local:///tmp/flux-a/local-0", "FLUX_JOB_ID")),
        ({b"FLUX_JOB_ID": b""}, (b"", b"", "FLUX_JOB_ID")),
        ({b"FLUX_URI": b"local:///run/flux/local"}, (PARENT, b"", "getppid(2)")),
        (PBS, (PARENT, b"7[2].server", "getppid(2)")),
        # Flux in a job of another scheduler: the variables of that one are not of this task
        ({**PBS, **SLURM, **FLUX}, (*FLUX.values(), "FLUX_JOB_ID")),
    ],
)
def test_groups(variables: dict[bytes, bytes], group: tuple[bytes, bytes, str]) -> None:
    assert group_names(variables.get) == group


def test_variables_with_the_size() -> None:
    """Flux tells it of a job on one node."""
    of_mpi = (b"OMPI_COMM_WORLD_LOCAL_SIZE", b"MPI_LOCALNRANKS", b"PALS_LOCAL_SIZE")
    of_slurm = (b"SLURM_STEP_TASKS_PER_NODE", b"SLURM_CPUS_ON_NODE")
    for variables in ({}, SLURM, PBS):
        assert size_names(variables.get) == of_mpi + of_slurm
    for nodes, more in ((b"1", (b"FLUX_JOB_SIZE",)), (b"2", ()), (b"x", ())):
        variables = {**SLURM, **FLUX, b"FLUX_JOB_NNODES": nodes}
        assert size_names(variables.get) == of_mpi + more


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 1),
        ({b"SLURM_STEP_TASKS_PER_NODE": b"4", b"SLURM_TASKS_PER_NODE": b"1"}, 4),
        ({b"SLURM_TASKS_PER_NODE": b"2(x3),1", b"SLURM_NODEID": b"3"}, 1),
        ({b"SLURM_TASKS_PER_NODE": b"2(x3),1", b"SLURM_NODEID": b"0"}, 2),
        ({b"SLURM_TASKS_PER_NODE": b"2(x3),5"}, 5),
        ({b"SLURM_TASKS_PER_NODE": b"2(x999999999)"}, 1),
        ({b"SLURM_TASKS_PER_NODE": b"x", b"OMPI_COMM_WORLD_LOCAL_SIZE": b"8"}, 8),
        ({b"OMPI_COMM_WORLD_LOCAL_SIZE": b"0"}, 1),
        ({b"MPI_LOCALNRANKS": b"3"}, 3),
        # mpirun in a task of the scheduler
        ({b"PALS_LOCAL_SIZE": b"4", b"SLURM_STEP_TASKS_PER_NODE": b"1"}, 4),
        ({b"OMPI_COMM_WORLD_LOCAL_SIZE": b"6", **FLUX, b"FLUX_JOB_SIZE": b"1"}, 6),
        # Flux: the mean, and never what Slurm has left
        ({**FLUX, b"FLUX_JOB_SIZE": b"4", b"FLUX_JOB_NNODES": b"1"}, 4),
        ({**FLUX, b"FLUX_JOB_SIZE": b"5", b"FLUX_JOB_NNODES": b"2"}, 3),
        ({**FLUX, b"FLUX_JOB_SIZE": b"1", b"FLUX_JOB_NNODES": b"2"}, 1),
        ({**FLUX, b"FLUX_JOB_SIZE": b"7"}, 7),
        ({**FLUX, b"FLUX_JOB_SIZE": b"7", b"FLUX_JOB_NNODES": b"0"}, 7),
        ({**FLUX, b"FLUX_JOB_SIZE": b"9" * 9000, b"FLUX_JOB_NNODES": b"1"}, 1),
        ({**FLUX, b"FLUX_JOB_SIZE": b"-4", b"FLUX_JOB_NNODES": b"x"}, 1),
        ({**FLUX, b"SLURM_STEP_TASKS_PER_NODE": b"8"}, 1),
        # PBS tells no number: its NCPUS is of one process
        ({b"PBS_JOBID": b"7.server", b"NCPUS": b"4", b"PBS_NODENUM": b"0"}, 1),
    ],
)
def test_tasks_on_this_node(variables: dict[bytes, bytes], count: int) -> None:
    assert local_tasks(variables.get) == count


def test_hashes() -> None:
    """The test vectors of FNV-1a's authors."""
    known = {b"": b"cbf29ce484222325", b"a": b"af63dc4c8601ec8c", b"foobar": b"85944171f73967e8"}
    assert {text: hashed(text) for text in known} == known
