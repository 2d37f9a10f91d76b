"""Targets that ``bake`` builds side by side: output and results as of one after the other."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.process import fork
from sundog.front.cli import bake_crew
from sundog.front.cli.bake_crew import Target, TargetCrew
from sundog.front.cli.bake_file import from_bake
from sundog.front.cli.report import Report
from tests.conftest import command, until
from tests.image.builder.test_failures import left_behind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Runner

pytestmark = pytest.mark.slow

# What makes a target meet others: a cache mount that all have.
MEET = "RUN --mount=type=cache,target=/m "


class Bakes:
    """A place with a Dockerfile for each target, in whose context all begin FROM bb."""

    def __init__(self, place: Path, storage: Path) -> None:
        self.place = place
        self.storage = storage

    def write(self, dockerfiles: dict[str, str], **keys: dict[str, object]) -> None:
        targets = {}
        for name, text in dockerfiles.items():
            (self.place / f"Dockerfile.{name}").write_text(text)
            own = keys.get(name, {})
            targets[name] = {"dockerfile": f"Dockerfile.{name}", "tags": [name], **own}
        document = {"target": targets, "group": {"default": {"targets": [*targets]}}}
        (self.place / "docker-bake.json").write_text(json.dumps(document))

    def start(self, *options: str) -> subprocess.Popen[str]:
        variables = {"CH_IMAGE_STORAGE": str(self.storage), "CH_IMAGE_FORCE": "seccomp"}
        return subprocess.Popen(
            [*command("sundog"), "buildx", "bake", *options],
            cwd=self.place,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def bake(self, *options: str) -> tuple[int, str]:
        running = self.start(*options)
        output, _ = running.communicate(timeout=120)
        return running.returncode, output

    def met(self, *names: str) -> bool:
        found = {path.name for path in self.storage.glob("cache-mounts/*/tree/*")}
        return found >= {*names}

    def check_nothing_is_left(self) -> None:
        assert left_behind(self.storage) == []
        assert [name for name in os.listdir(self.storage / "locks") if name != "use"] == []


@pytest.fixture
def bakes(tmp_path: Path, storage: Path, bb: str) -> Bakes:
    assert bb == "bb"
    return Bakes(tmp_path, storage)


def test_what_targets_wait_for() -> None:
    """They need others, or replace what these write."""
    targets = {
        "a": {"tags": ["x"], "output": [{"type": "tar", "dest": "f"}]},
        "b": {"tags": ["y"]},
        "c": {"contexts": {"other": "target:b", "files": "files"}, "tags": ["z", "x"]},
        "d": {"tags": ["x"], "output": ["type=tar,dest=f"]},
        "e": {},
    }
    definition = from_bake({"target": targets, "group": {"default": {"targets": [*"abcde"]}}}, "f")
    waits = definition.waits_for(definition.wanted([]))
    assert waits == [frozenset(needs) for needs in ((), (), (0, 1), (0, 2), ())]


def test_output_and_results_are_those_of_one_job(
    bakes: Bakes, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    bakes.write(
        {
            "one": "FROM bb\nRUN echo one; sleep .5; echo error >&2; echo one > /one\n",
            "two": "FROM bb\nARG x\nRUN echo two; echo two > /file\n",
            "again": "FROM bb\nRUN echo again > /file; echo again\n",
            "last": "FROM bb\nCOPY --from=first /one /\nRUN cat /one\n",
        },
        again={"tags": ["two"]},
        two={"args": {"unused": "1"}},
        last={"contexts": {"first": "target:one"}, "tags": [], "output": ["out"]},
    )
    seen = []
    for jobs in (1, 4):
        run_ch_image("build-cache", "--reset")
        seen.append(bakes.bake(f"--jobs={jobs}"))
        assert (bakes.place / "out/one").read_text() == "one\n"
        shutil.rmtree(bakes.place / "out")
        assert sorted(run_ch_image("list").stdout.split()) == ["bb", "one", "two"]
        assert run_ch_run("two", "--", "cat", "/file").stdout == "again\n"
        bakes.check_nothing_is_left()
    assert seen[0] == seen[1]
    status, output = seen[0]
    assert status == 0
    places = [output.index(f"target: {name}\n") for name in ("one", "two", "again", "last")]
    assert places == sorted(places)


MEETING = {
    name: f"FROM bb\n{MEET}touch /m/{name}; until test -e /m/{other}; do sleep .05; done\n"
    for name, other in (("a", "b"), ("b", "a"))
}


def test_targets_run_at_the_same_time(bakes: Bakes) -> None:
    bakes.write(MEETING)
    status, output = bakes.bake("--jobs=2")
    assert status == 0, output
    bakes.check_nothing_is_left()


def test_equal_steps_of_two_targets_run_once(bakes: Bakes) -> None:
    """The cache mount tells how often they ran."""
    both = f"FROM bb\n{MEET}mktemp /m/XXXXXX >/dev/null; sleep .3\n"
    bakes.write({"a": both, "b": f"{both}RUN true\n"})
    status, output = bakes.bake("--jobs=2")
    assert status == 0, output
    assert len([*bakes.storage.glob("cache-mounts/*/tree/*")]) == 1


FAILING = {
    "a": f"FROM bb\nRUN echo early\n{MEET}touch /m/a; sleep 98765\n",
    "b": f"FROM bb\n{MEET}until test -e /m/a -a -e /m/c; do sleep .05; done; echo b; exit 3\n",
    "c": f"FROM bb\nRUN echo late\n{MEET}touch /m/c; sleep 98765\n",
    "d": "FROM bb\nRUN echo never\n",
}


def test_a_failure(bakes: Bakes, run_ch_image: Runner) -> None:
    """The others end, and the target that failed comes last on the screen."""
    bakes.write(FAILING, d={"contexts": {"other": "target:c"}})
    status, output = bakes.bake("--jobs=3")
    assert status == 1
    shown = output[output.index("target: b\n") :]
    assert "b\n" in shown
    assert "Dockerfile.b:2: build failed: RUN command exited with 3" in shown
    assert "target: a" not in shown
    assert "early\n" in output
    assert "\nlate\n" not in output
    assert "target: c: not finished\n" in output
    assert "never" not in output
    bakes.check_nothing_is_left()
    assert run_ch_image("list").stdout.split() == ["bb"]


PATIENT = {name: f"FROM bb\n{MEET}echo {name}; touch /m/{name}; sleep 98765\n" for name in "ab"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption(bakes: Bakes, number: signal.Signals) -> None:
    bakes.write(PATIENT)
    running = bakes.start("--jobs=2")
    until(lambda: bakes.met("a", "b"))
    os.kill(running.pid, number)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == -number, output
    assert "Traceback" not in output
    bakes.check_nothing_is_left()


def test_the_process_of_a_target_is_killed(bakes: Bakes) -> None:
    bakes.write(PATIENT)
    running = bakes.start("--jobs=2")
    until(lambda: bakes.met("a", "b"))
    with open(f"/proc/{running.pid}/task/{running.pid}/children", encoding="utf-8") as file:
        os.kill(int(file.read().split()[0]), signal.SIGKILL)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 125
    assert "error: the process of a target has ended: a: signal 9\nhint: " in output
    assert bakes.bake("-f", "docker-bake.json", "--print")[0] == 0


def test_a_target_that_can_not_be_forked_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is built when another one has ended."""
    tries = []

    def forked() -> int:
        tries.append(True)
        if len(tries) == 2:
            raise OSError(errno.EAGAIN, "few processes are allowed")
        return fork()

    def build(line: Sequence[str]) -> int:
        (tmp_path / line[-1]).touch()
        return 0

    monkeypatch.setattr(bake_crew, "fork", forked)
    targets = [Target(name, [name], frozenset()) for name in "ab"]
    assert TargetCrew(targets, 2, Report(), build).build() == 0
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert len(tries) == 3


def test_a_target_that_gets_one_pipe_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """That one is closed."""
    ends: list[int] = []

    def pipe() -> tuple[int, int]:
        if ends:
            raise OSError(errno.EMFILE, "few files are allowed")
        ends.extend(os.pipe2(os.O_CLOEXEC))
        return ends[0], ends[1]

    monkeypatch.setattr(os.path, "sameopenfile", lambda *_: False)
    monkeypatch.setattr(os, "pipe", pipe)
    crew = TargetCrew([Target("a", ["a"], frozenset())], 1, Report(), lambda _: 0)
    with pytest.raises(OSError, match="few files"):
        crew.build()
    assert len(ends) == 2
    for end in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_a_wrong_number_of_jobs(bakes: Bakes) -> None:
    bakes.write(PATIENT)
    status, output = bakes.bake("--jobs=x")
    assert status == 125
    assert "error: --jobs: not a number of jobs: x\n" in output
