"""The processes of this launcher on this node, as the variables of schedulers and of MPI tell.

Sources: the manuals of srun(1), flux-environment(7), qsub(1B), pbsdsh(1B) and mpirun(1) of Open
MPI; MPICH's Hydra; HPE's PALS.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# The tag of the processes that a scheduler starts together, and the variable that tells apart those
# of one user with equal tags: jobs of Slurm have equal steps, instances of Flux equal jobs.  PBS
# has no name for what one pbsdsh or mpirun starts: the parent is the tag there, and of pbsdsh that
# is one process for all jobs of a node.  The first row counts whose first variable with a name is
# set.  Flux runs in jobs of the others, whose variables it leaves in an environment.
GROUPS = (
    (b"FLUX_JOB_ID", b"FLUX_URI"),
    (b"SLURM_STEP_ID", b"SLURM_JOB_ID"),
    (b"", b"PBS_JOBID"),
)
_PARENT = "getppid(2)"  # the source of the tag that is the parent's ID

# The number of processes on this node: of mpirun, which may run in a step or a task of the others.
_OF_MPI = (b"OMPI_COMM_WORLD_LOCAL_SIZE", b"MPI_LOCALNRANKS", b"PALS_LOCAL_SIZE")
# The same of Slurm's step, else of the job.
_OF_SLURM = (b"SLURM_STEP_TASKS_PER_NODE", b"SLURM_TASKS_PER_NODE")
_NODE_INDEX = b"SLURM_NODEID"
_CPUS = b"SLURM_CPUS_ON_NODE"  # as many as tasks, if each has one
# Flux has only totals.  PBS tells the script of a job a file of nodes, and the tasks nothing.
_FLUX_JOB, _FLUX_TASKS, _FLUX_NODES = b"FLUX_JOB_ID", b"FLUX_JOB_SIZE", b"FLUX_JOB_NNODES"
_TASKS_LIMIT = 1 << 16


def group_names(get: Callable[[bytes], bytes | None]) -> tuple[bytes, bytes, str]:
    """Return the tag of this process's group, what its job is called, and the tag's source.

    ``get`` reads the environment.
    """
    for tag_name, job_name in GROUPS:
        tag = get(tag_name or job_name)
        if tag is not None:
            if tag_name:
                return tag, get(job_name) or b"", tag_name.decode()
            return b"%d" % os.getppid(), tag, _PARENT
    return b"%d" % os.getppid(), b"", _PARENT


def size_names(get: Callable[[bytes], bytes | None]) -> tuple[bytes, ...]:
    """Return the variables that may have the size of a group; the first one that is set counts."""
    if get(_FLUX_JOB) is None:
        return (*_OF_MPI, _OF_SLURM[0], _CPUS)
    return (*_OF_MPI, _FLUX_TASKS) if get(_FLUX_NODES) == b"1" else _OF_MPI


def local_tasks(get: Callable[[bytes], bytes | None]) -> int:
    """Return how many processes of this launcher are on this node; 1 if unknown.

    Of a job of Flux on several nodes, it is the mean.
    """
    for name in _OF_MPI:
        if count := _count(get(name)):
            return count
    if get(_FLUX_JOB) is not None:
        return -(-_count(get(_FLUX_TASKS)) // (_count(get(_FLUX_NODES)) or 1)) or 1
    for name in _OF_SLURM:
        counts = _tasks_per_node(get(name) or b"")
        index = get(_NODE_INDEX) or b""
        if counts:
            place = int(index) if index.isdigit() and len(index) < 9 else len(counts)
            return counts[place] if place < len(counts) else max(counts)
    return 1


def _count(value: bytes | None) -> int:
    """Return the number of processes or nodes in a variable; 0 if it has none."""
    if value is None or not value.isdigit() or len(value) > 8:
        return 0
    return int(value)


def _tasks_per_node(text: bytes) -> list[int]:
    """Return the counts of a list of Slurm's, such as ``2(x3),1``; [] for another text."""
    counts: list[int] = []
    for part in text.split(b","):
        count, _, times = part.removesuffix(b")").partition(b"(x")
        times = times or b"1"
        if not (count.isdigit() and times.isdigit() and len(count) < 6 and len(times) < 6):
            return []
        if not int(count) or len(counts) + int(times) > _TASKS_LIMIT:
            return []
        counts += [int(count)] * int(times)
    return counts
