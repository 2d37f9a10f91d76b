"""Jobs of OpenPBS whose tasks run in containers, on two nodes: `make openpbs`.

Other runs do not collect these tests.  A script of a job has a shell in front, which dies of most
signals; where a test needs the program's status, the job is the program.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.openpbs import VARIABLE
from scripts.place import CHECKOUT

from tests.cluster.conftest import IMAGE, SMALL, Place, right_ranks
from tests.cluster.page import PROGRAM, real, shown
from tests.cluster.remains import kinds, left, sleepers
from tests.conftest import until

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.slow

JOB = CHECKOUT / "examples/pbs/job.sh"
ONE_NODE = ("-l", "select=1:ncpus=2:mpiprocs=2")
TWO_NODES = ("-l", "select=2:ncpus=2:mpiprocs=2", "-l", "place=scatter")
NODE = "readlink /proc/self/ns/mnt"
AWAIT_FOUR = "until [ $(ls /mnt | wc -l) = 4 ]; do sleep 0.1; done"
REMOTE = CHECKOUT / "examples/pbs/remote.sh"
HYDRA = f"HYDRA_LAUNCHER=rsh HYDRA_LAUNCHER_EXEC={REMOTE} mpiexec.hydra"


class Jobs(Place):
    """The place, with the commands of OpenPBS and $PBS_CONF_FILE."""

    @property
    def nodes(self) -> list[str]:
        """Return the names of the nodes."""
        return [*json.loads(self.run("pbsnodes", "-a", "-F", "json").stdout)["nodes"]]

    def submitted(self, name: str, *words: str | Path) -> str:
        """Submit a job whose output is in a file ``name``; return its ID.

        qsub leaves a process that answers its next calls, but not with -f.
        """
        output = ("-j", "oe", "-o", self.output(name))
        return self.run("qsub", "-f", "-V", *output, *words).stdout.strip()

    def output(self, name: str) -> Path:
        """Return the file of a job's output."""
        return self.directory / f"{name}.out"

    def script(self, name: str, text: str) -> Path:
        """Return a file with the script of a job, which finds Sundog as its submitter does."""
        path = self.directory / f"{name}.job"
        path.write_text(f"#!/bin/sh\nPATH=$PBS_O_PATH\n{text}\n")
        return path

    def status(self, job: str) -> int:
        """Wait until a job has ended; return its status."""
        found: dict[str, int | str] = {}

        def ended() -> bool:
            said = self.run("qstat", "-x", "-f", "-F", "json", job).stdout
            (only,) = json.loads(said)["Jobs"].values()
            found.update(only)
            return found["job_state"] == "F"

        until(ended, f"{job} stays: {found}")
        return int(found["Exit_status"])

    def said(self, name: str, text: str, *options: str) -> str:
        """Run a job with a script, which must succeed; return what it printed."""
        status = self.status(self.submitted(name, *options, self.script(name, text)))
        said = self.output(name).read_text(errors="replace")
        assert not status, said
        return said


@pytest.fixture(scope="module")
def pbs(place: Place) -> Jobs:
    configuration = os.environ[VARIABLE]
    settings = dict(line.split("=", 1) for line in Path(configuration).read_text().splitlines())
    path = f"{place.programs}:{settings['PBS_EXEC']}/bin:/usr/bin:/bin"
    return Jobs(place.directory, {**place.variables, "PATH": path, "PBS_CONF_FILE": configuration})


@pytest.fixture(autouse=True)
def nothing_stays(pbs: Jobs) -> Generator[None]:
    """Check that no server, no group and no state is left when a test's jobs have ended."""
    before = left(pbs)
    yield
    until(lambda: left(pbs) <= before, "something stays")


def test_tasks_on_all_nodes(pbs: Jobs) -> None:
    """Each kind of container, made of layers and of a file."""
    options = ((), ("-W",), ("--join",), ("--notify",))
    for number, words in enumerate(options):
        for image in (SMALL, str(pbs.file)):
            line = " ".join(("ch-run", *words, image))
            text = f"pbsdsh -- {line} -- sh -c 'echo $(hostname) $PBS_TASKNUM'"
            lines = pbs.said(f"all.{number}", text, *TWO_NODES).splitlines()
            assert sorted(Counter(line.split()[0] for line in lines).values()) == [2, 2], lines


def test_the_tasks_of_a_node_share_a_container(pbs: Jobs) -> None:
    """Each task waits for the others: a group ends with its last member."""
    ready = pbs.directory / "tasks"
    ready.mkdir()
    show = f"'{NODE}; touch /mnt/$(hostname).$PBS_TASKNUM; {AWAIT_FOUR}'"
    text = f"pbsdsh -- ch-run --join -b {ready}:/mnt {SMALL} -- sh -c {show}"
    found = Counter(pbs.said("shared", text, *TWO_NODES).split())
    assert sorted(found.values()) == [2, 2]


def test_jobs_have_containers_of_their_own(pbs: Jobs) -> None:
    """Two jobs run on one node at once.  The parent of all their tasks is one daemon."""
    ready = pbs.directory / "jobs"
    ready.mkdir()
    names = ("first", "second")
    show = f"'{NODE}; touch /mnt/$0.$PBS_TASKNUM; {AWAIT_FOUR}'"
    jobs = []
    for name in names:
        text = f"pbsdsh -- ch-run --join -b {ready}:/mnt {SMALL} -- sh -c {show} {name}"
        words = ("-l", f"select=1:ncpus=2:mpiprocs=2:host={pbs.nodes[0]}", pbs.script(name, text))
        jobs.append(pbs.submitted(name, *words))
    assert [pbs.status(job) for job in jobs] == [0, 0]
    (first, again), (second, also) = (pbs.output(name).read_text().split() for name in names)
    assert first == again
    assert second == also
    assert first != second


def test_messages(pbs: Jobs) -> None:
    said = pbs.said("messages", f"pbsdsh -- ch-run -v --join {SMALL} -- true", *ONE_NODE)
    assert said.count("join: peer group tag from getppid(2)\n") == 2


def test_exit_statuses(pbs: Jobs) -> None:
    """PBS adds a signal's number to 256."""
    shell = (SMALL, "--", "sh", "-c")
    for options in ((), ("--join",), ("--notify",)):
        words = ("--", f"{pbs.programs}/ch-run", *options)
        assert pbs.status(pbs.submitted("seven", *words, *shell, "exit 7")) == 7
        assert pbs.status(pbs.submitted("none", *words, "nope", "--", "true")) == 31
    killed = ("--", f"{pbs.programs}/ch-run", *shell, "kill -KILL $$")
    assert pbs.status(pbs.submitted("killed", *killed)) == 256 + 9


def test_the_status_of_a_task(pbs: Jobs) -> None:
    line = f"ch-run --join {SMALL} -- sh -c 'exit 7'"
    assert pbs.said("tmrsh", f"pbs_tmrsh $(hostname) {line}; echo =$?").endswith("=7\n")
    assert pbs.said("dsh", f"pbsdsh -- {line}").endswith("exit status 7\n")


@pytest.mark.parametrize("options", [(), ("--join",), ("--notify",)])
def test_a_signal_reaches_the_program(pbs: Jobs, options: tuple[str, ...]) -> None:
    ready = pbs.directory / f"signal.{'.'.join(options)}"
    wait = f"trap 'exit 5' USR1; touch {ready}; while :; do sleep 0.1; done"
    words = (*options, "-b", str(pbs.directory), SMALL, "--", "sh", "-c", wait)
    job = pbs.submitted("signal", "--", f"{pbs.programs}/ch-run", *words)
    until(ready.exists, "the job does not start")
    pbs.run("qsig", "-s", "SIGUSR1", job)
    assert pbs.status(job) == 5


def test_the_processors_are_those_of_the_task(pbs: Jobs) -> None:
    """PBS binds no task here: somebody does it in the job."""
    show = "sh -c 'grep ^Cpus_allowed: /proc/self/status'"
    for number, taskset in enumerate(("", "taskset -c 0 ", "taskset -c 1 ")):
        words = ["", *(f"ch-run {option} {SMALL} -- " for option in ("", "--join", "--notify"))]
        text = "\n".join(f"pbsdsh -n 0 -- {taskset}{word}{show}" for word in words)
        lines = pbs.said(f"bound.{number}", text).splitlines()
        assert len(lines) == len(words)
        assert len({*lines}) == 1


def started(ready: Path, name: str, count: int) -> None:
    """Wait until ``count`` tasks have made files whose names begin with ``name``."""
    until(lambda: len([*ready.glob(f"{name}.*")]) == count, f"{name} does not start")


def test_nothing_stays_after_qdel(pbs: Jobs) -> None:
    """The tasks of the job's first node get SIGTERM, and SIGKILL if they stay; others SIGKILL."""
    ready = pbs.directory / "ready.pbs"
    ready.mkdir()
    told = f"touch {ready}/told.$0.$(hostname).$PBS_TASKNUM"
    stay = f'trap "{told}" TERM; while :; do sleep 0.1; done'
    waits = {"sleeps": "exec sleep 99999", "stays": stay}
    jobs = []
    for kind, words in kinds(pbs).items():
        line = " ".join(("ch-run", "-b", str(ready), *words, "--", "sh -c"))
        for how, wait in waits.items():
            name = f"{kind}.{how}"
            show = f"'touch {ready}/$0.$(hostname).$PBS_TASKNUM; {wait}'"
            script = pbs.script(name, f"pbsdsh -- {line} {show} {name}")
            jobs.append(pbs.submitted(name, *TWO_NODES, script))
    for name in kinds(pbs):
        for how in waits:
            started(ready, f"{name}.{how}", 4)
    assert sleepers(ready)
    pbs.run("qdel", *jobs)
    # Of the shell in front, which may have waited for the script.
    assert {pbs.status(job) for job in jobs} <= {128 + 15, 256 + 15}
    until(lambda: not sleepers(ready), "a command stays")
    for name in kinds(pbs):
        assert len([*ready.glob(f"told.{name}.stays.*")]) == 2


@pytest.mark.parametrize("options", ["", "--join", "-t", "--unset-env=*"])
def test_ranks_of_mpich(pbs: Jobs, options: str) -> None:
    text = f"{HYDRA} -n 4 ch-run {options} {IMAGE} -- /usr/local/bin/ranks.mpich"
    assert len({*right_ranks(pbs.said("ranks", text, *TWO_NODES), 4)}) == 2


def test_the_number_of_ranks(pbs: Jobs) -> None:
    text = f"{HYDRA} -n 4 ch-run -v --join {SMALL} -- true"
    said = pbs.said("number", text, *TWO_NODES)
    assert said.count("join: peer group size from MPI_LOCALNRANKS\n") == 4


@pytest.fixture
def with_mpiexec(pbs: Jobs) -> Jobs:
    """Return the same, with an mpiexec that reaches other nodes."""
    (pbs.directory / "mpiexec").write_text(f'#!/bin/sh\nexec env {HYDRA} "$@"\n')
    (pbs.directory / "mpiexec").chmod(0o755)
    path = f"{pbs.directory}:{pbs.variables['PATH']}"
    return replace(pbs, variables={**pbs.variables, "PATH": path})


def test_a_job_of_the_examples(with_mpiexec: Jobs) -> None:
    """The script makes one file of its image, for all ranks of this job and of later ones."""
    pbs = with_mpiexec
    given = ("-l", "place=scatter", "-v", f"IMAGE={SMALL},PROGRAM=/bin/hostname")
    for _ in range(2):
        status = pbs.status(pbs.submitted("example", *given, JOB))
        said = pbs.output("example").read_text()
        assert not status, said
        lines = Counter(said.splitlines())
        assert [lines[node] for node in pbs.nodes] == [2, 2], said
    assert len([*pbs.directory.glob("job-*.sqfs")]) == 1


@pytest.mark.parametrize("line", shown("qsub"))
def test_a_job_of_the_page(pbs: Jobs, with_mpiexec: Jobs, line: str) -> None:
    names = {
        "IMAGE=app,PROGRAM=/bin/program": f"IMAGE={SMALL},PROGRAM=/bin/{PROGRAM}",
        "job.sh": str(JOB),
        "/opt/sundog/bin/ch-run": f"{pbs.programs}/ch-run",
    }
    _, *words = real(line, pbs, **names)
    status = pbs.status(with_mpiexec.submitted("page", *words))
    said = pbs.output("page").read_text()
    assert not status, said
    assert {*said.splitlines()} & {*pbs.nodes}, said


@pytest.mark.parametrize("line", shown("qsig", "qdel"))
def test_a_line_of_the_page(pbs: Jobs, line: str) -> None:
    ready = pbs.directory / f"page.{line.split(maxsplit=1)[0]}"
    words = ("-b", str(pbs.directory), SMALL, "--", "sh", "-c", f"touch {ready}; exec sleep 99999")
    job = pbs.submitted("line", "--", f"{pbs.programs}/ch-run", *words)
    until(ready.exists, "the job does not start")
    pbs.run(*real(line, pbs, JOBID=job))
    assert pbs.status(job) == 256 + (10 if "SIGUSR1" in line else 15)
