"""Jobs of Flux whose tasks run in containers, in an instance with two brokers: `make flux`.

Other runs do not collect these tests.  Each broker stands for a node.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from scripts.flux import VARIABLE
from scripts.place import CHECKOUT

from tests.cluster.conftest import IMAGE, SMALL, Place
from tests.cluster.page import PROGRAM, real, shown
from tests.cluster.remains import kinds, left, sleepers
from tests.conftest import until

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.slow

JOB = CHECKOUT / "examples/flux/job.sh"
TWO_NODES = ("flux", "run", "-N2", "-n4", "-o", "cpu-affinity=off")
NODE = "readlink /proc/self/ns/mnt"
AWAIT_FOUR = "until [ $(ls /mnt | wc -l) = 4 ]; do sleep 0.1; done"


@pytest.fixture(scope="module")
def flux(place: Place) -> Generator[Place]:
    """Return the place, with the programs of Flux and $FLUX_URI of a running instance."""
    variables = {**place.variables, "LC_ALL": "C.UTF-8"}
    variables["PATH"] = f"{place.programs}:{os.environ[VARIABLE]}:/usr/bin:/bin"
    with subprocess.Popen(
        ["flux", "start", "--test-size=2", "sh", "-c", 'echo "$FLUX_URI"; read end'],
        env=variables,
        cwd=place.directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as instance:
        assert instance.stdout is not None
        uri = instance.stdout.readline().strip()
        assert uri.startswith("local://")
        yield Place(place.directory, {**variables, "FLUX_URI": uri})
        instance.communicate("\n", timeout=60)
    assert instance.returncode == 0


@pytest.fixture(autouse=True)
def nothing_stays(flux: Place) -> Generator[None]:
    """Check that no server, no group and no state is left when a test's jobs have ended."""
    before = left(flux)
    yield
    until(lambda: left(flux) <= before, "something stays")


@pytest.mark.parametrize("options", [(), ("-W",), ("--join",), ("--notify",)])
def test_tasks_on_all_nodes(flux: Place, options: tuple[str, ...]) -> None:
    for image in (SMALL, str(flux.file)):
        done = flux.run(
            *TWO_NODES, "ch-run", *options, image, "--", "sh", "-c", "echo $FLUX_TASK_RANK"
        )
        assert sorted(done.stdout.split()) == ["0", "1", "2", "3"]


def test_the_tasks_of_a_node_share_a_container(flux: Place) -> None:
    """Each task waits for the others: a group ends with its last member."""
    ready = flux.directory / "tasks"
    ready.mkdir()
    show = f"{NODE}; touch /mnt/$FLUX_TASK_RANK; {AWAIT_FOUR}"
    words = ("ch-run", "--join", f"--bind={ready}:/mnt", SMALL, "--", "sh", "-c", show)
    done = flux.run(*TWO_NODES, *words)
    assert sorted(Counter(done.stdout.split()).values()) == [2, 2]


def test_jobs_have_containers_of_their_own(flux: Place) -> None:
    """Two jobs run at once.  A shell between Flux and ch-run keeps no task from its group."""
    ready = flux.directory / "jobs"
    ready.mkdir()
    show = f"{NODE}; touch /mnt/$0.$FLUX_TASK_RANK; {AWAIT_FOUR}"
    script = flux.directory / "shell"
    script.write_text(f'ch-run --join -b {ready}:/mnt {SMALL} -- sh -c "$0" "$1"; exit $?\n')
    words = ("-N1", "-n2", "-o", "cpu-affinity=off", "sh", "-c", f". {script}", show)
    found = []
    jobs = [submitted(flux, *words, name) for name in ("first", "second")]
    for job in jobs:
        one, other = flux.run("flux", "job", "attach", job).stdout.split()
        assert one == other
        found.append(one)
    assert found[0] != found[1]


def test_messages(flux: Place) -> None:
    """Flux tells the number of tasks of a job on one node."""
    done = flux.run("flux", "run", "-n2", "ch-run", "-v", "--join", SMALL, "--", "true")
    assert done.stderr.count("join: peer group tag from FLUX_JOB_ID\n") == 2
    assert done.stderr.count("join: peer group size from FLUX_JOB_SIZE\n") == 2


def test_exit_statuses(flux: Place) -> None:
    for options in ((), ("--join",)):
        words = ("flux", "run", "-n2", "ch-run", *options)
        assert flux.run(*words, SMALL, "--", "sh", "-c", "exit 7", check=False).returncode == 7
        assert flux.run(*words, "nope", "--", "true", check=False).returncode == 31
    killed = ("flux", "run", "ch-run", SMALL, "--", "sh", "-c", "kill -KILL $$")
    assert flux.run(*killed, check=False).returncode == 128 + 9


def submitted(flux: Place, *words: str) -> str:
    """Submit a job; return its ID."""
    return flux.run("flux", "submit", *words).stdout.strip()


@pytest.mark.parametrize("line", shown("flux"))
def test_a_line_of_the_page(flux: Place, line: str) -> None:
    if "JOBID" not in line:
        done = flux.run(*real(line, flux))
        said = done.stdout
        if "submit" in line:
            said = flux.run("flux", "job", "attach", said.strip()).stdout
        assert said.split() == flux.run(PROGRAM).stdout.split() * 4
        return
    job = submitted(flux, "ch-run", SMALL, "--", "sleep", "99999")
    flux.run("flux", "job", "wait-event", "--timeout=60", job, "start")
    flux.run(*real(line, flux, JOBID=job))
    signal = 10 if "USR1" in line else 15
    assert flux.run("flux", "job", "attach", job, check=False).returncode == 128 + signal


@pytest.mark.parametrize("options", [(), ("--join",), ("--notify",)])
def test_a_signal_reaches_the_program(flux: Place, options: tuple[str, ...]) -> None:
    ready = flux.directory / f"signal.{'.'.join(options)}"
    wait = f"trap 'exit 5' USR1; touch {ready}; while :; do sleep 0.1; done"
    words = ("ch-run", *options, "-b", str(flux.directory), SMALL, "--", "sh", "-c", wait)
    job = submitted(flux, *words)
    until(ready.exists, "the task does not start")
    flux.run("flux", "job", "kill", "-s", "USR1", job)
    assert flux.run("flux", "job", "attach", job, check=False).returncode == 5


def test_the_processors_are_those_of_the_task(flux: Place) -> None:
    show = ("sh", "-c", "grep ^Cpus_allowed: /proc/self/status")
    for affinity in ("off", "on", "per-task"):
        line = ("flux", "run", "-N1", "-n2", "-o", f"cpu-affinity={affinity}")
        outside = flux.run(*line, *show).stdout
        for options in ((), ("--join",), ("--notify",)):
            inside = flux.run(*line, "ch-run", *options, SMALL, "--", *show).stdout
            assert sorted(inside.splitlines()) == sorted(outside.splitlines())


def test_nothing_stays_after_a_cancel(flux: Place) -> None:
    ready = flux.directory / "ready.flux"
    ready.mkdir()
    wait = f"touch {ready}/$0.$FLUX_TASK_RANK; exec sleep 99999"
    for name, words in kinds(flux).items():
        line = ("-n2", "ch-run", "-b", str(ready), *words, "--", "sh", "-c", wait, name)
        job = submitted(flux, *line)
        until(lambda name=name: len([*ready.glob(f"{name}.*")]) == 2, f"{name} does not start")  # type: ignore[misc]
        assert sleepers(ready)
        flux.run("flux", "cancel", job)
        done = flux.run("flux", "job", "attach", job, check=False)
        assert done.returncode == 128 + 15
        until(lambda: not sleepers(ready), "a command stays")


@pytest.mark.parametrize("options", [(), ("--join",), ("-t",), ("--unset-env=*",)])
def test_ranks_of_mpich(flux: Place, options: tuple[str, ...]) -> None:
    words = (*TWO_NODES, "ch-run", *options, IMAGE, "--", "/usr/local/bin/ranks.mpich")
    flux.ranks(*words, count=4)


def test_a_batch_script(flux: Place) -> None:
    """The example makes one file of its image, for all tasks of this job and of later ones."""
    show = ("sh", "-c", 'echo "rank $FLUX_TASK_RANK of $0"', "it's all")
    for number in range(2):
        output = flux.directory / f"batch.{number}"
        words = ("flux", "batch", f"--output={output}", "-N2", "-n2", JOB, SMALL, *show)
        job = flux.run(*words).stdout.strip()
        flux.run("flux", "job", "attach", job, timeout=280)
        said = output.read_text().splitlines()
        assert sorted(line for line in said if line.startswith("rank ")) == [
            f"rank {rank} of it's all" for rank in range(2)
        ], said
    assert len([*flux.directory.glob("job-*.sqfs")]) == 1
