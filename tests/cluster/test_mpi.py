"""Ranks of Open MPI and MPICH in containers, started by Slurm and by mpirun, inside and outside."""

from __future__ import annotations

import time

import pytest

from tests.cluster.conftest import IMAGE, Place, Slurm

pytestmark = pytest.mark.slow

# The interface between Slurm and the ranks that each implementation of Debian has.
INTERFACES = {"openmpi": "pmix", "mpich": "pmi2"}
RANKS = "/usr/local/bin/ranks"
TWO_NODES = ("-N2", "-n4", "--ntasks-per-node=2")
# mpirun: more ranks than cores, and no remote shell.
LAUNCHERS = {
    "openmpi": ("mpirun.openmpi", "--oversubscribe"),
    "mpich": ("mpiexec.hydra", "-launcher", "fork"),
}
# Open MPI wants a home.
EMPTY = ("--unset-env=*", "--set-env=HOME=/")
OPTIONS = ((), ("--join",), ("-t",), ("-W",), EMPTY, ("-t", *EMPTY, "--join"))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", INTERFACES)
def test_ranks_of_srun(slurm: Slurm, name: str, options: tuple[str, ...]) -> None:
    nodes = slurm.ranks(
        *("srun", f"--mpi={INTERFACES[name]}", "-N4", "-n16", "--ntasks-per-node=4"),
        *("ch-run", *options, IMAGE, "--", f"{RANKS}.{name}"),
        count=16,
    )
    assert set(nodes) == {*slurm.nodes}


@pytest.mark.parametrize("name", INTERFACES)
def test_ranks_of_srun_container(slurm: Slurm, name: str) -> None:
    """With a recipe of oci.conf, Slurm itself starts the container of each rank."""
    words = ("srun", f"--mpi={INTERFACES[name]}", *TWO_NODES, f"--container={IMAGE}")
    assert len(set(slurm.ranks(*words, f"{RANKS}.{name}", count=4))) == 2


@pytest.mark.parametrize("name", INTERFACES)
def test_ranks_of_srun_container_with_bundles(slurm_with_bundles: Slurm, name: str) -> None:
    slurm = slurm_with_bundles
    bundle = slurm.directory / f"bundle.{name}"
    slurm.run("ch-image", "oci-bundle", IMAGE, bundle)
    words = ("srun", f"--mpi={INTERFACES[name]}", *TWO_NODES, f"--container={bundle}")
    assert len(set(slurm.ranks(*words, f"{RANKS}.{name}", count=4))) == 2


@pytest.mark.parametrize("options", [(), ("--join",), ("-t",), EMPTY])
@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_of_mpirun(place: Place, name: str, options: tuple[str, ...]) -> None:
    launcher = (*LAUNCHERS[name], "-n", "4")
    place.ranks(*launcher, "ch-run", *options, IMAGE, "--", f"{RANKS}.{name}", count=4)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_mpirun_inside(place: Place, name: str) -> None:
    launcher = (*LAUNCHERS[name], "-n", "4")
    place.ranks("ch-run", IMAGE, "--", *launcher, f"{RANKS}.{name}", count=4)


def test_hybrid(place: Place) -> None:
    """One rank in the container, one on the host, which has the same Open MPI."""
    host = place.directory / "ranks.openmpi"
    place.run("sh", "-c", f"ch-run {IMAGE} -- cat {RANKS}.openmpi >{host}; chmod 755 {host}")
    inside = f"ch-run {IMAGE} -- {RANKS}.openmpi"
    each = f"if [ $OMPI_COMM_WORLD_RANK = 0 ]; then exec {inside}; else exec {host}; fi"
    place.ranks(*LAUNCHERS["openmpi"], "-n", "2", "sh", "-c", each, count=2)


def test_a_rank_that_calls_itself_root(place: Place) -> None:
    """The warning's hint works: without the security module, the ranks start."""
    launcher = (*LAUNCHERS["openmpi"], "-n", "2")
    done = place.run(
        *("env", "PMIX_MCA_psec=none", *launcher),
        *("ch-run", "--notify", IMAGE, "--", f"{RANKS}.openmpi"),
    )
    assert done.stdout.count(": right") == 2
    assert done.stdout.count(" as 0:") == 2


SUPERVISED = ((), ("--join",), ("-t", "-W"))


@pytest.mark.parametrize("options", SUPERVISED)
def test_mpirun_with_root_emulation(place: Place, options: tuple[str, ...]) -> None:
    """PMIx compares users, so the ranks start as the caller."""
    launcher = (*LAUNCHERS["openmpi"], "-n", "4")
    line = ("ch-run", "--notify", *options, IMAGE, "--", f"{RANKS}.openmpi")
    place.ranks(*launcher, *line, count=4)


def test_srun_with_root_emulation(slurm: Slurm) -> None:
    nodes = slurm.ranks(
        *("srun", "--mpi=pmix", "-N2", "-n4", "ch-run", "--notify", IMAGE),
        *("--", f"{RANKS}.openmpi"),
        count=4,
    )
    assert len(set(nodes)) == 2


def test_ranks_of_another_user_end(place: Place) -> None:
    begin = time.monotonic()
    line = ("ch-run", "--notify", "-u0", IMAGE, "--", f"{RANKS}.openmpi")
    done = place.run(*LAUNCHERS["openmpi"], "-n", "2", *line, check=False)
    assert done.returncode != 0
    assert "hint: leave out -u, -g and --user" in done.stderr
    assert time.monotonic() - begin < 20  # of which mpirun itself needs some; it hung for ever
