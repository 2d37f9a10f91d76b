"""Stages that are built side by side: the same results and the same output as one by one."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import signal
import subprocess
import threading
import time
from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.conftest import KILLS, command, until
from tests.image.builder.conftest import announced
from tests.image.builder.test_failures import left_behind
from tests.image.layer.archives import file
from tests.image.pull.faulty import FaultyRegistry
from tests.image.pull.images import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.image.builder.conftest import Workshop
    from tests.image.pull.faulty import Answer, Asked

TURNS = int(os.environ.get("SUNDOG_STAGE_KILLS", KILLS))
ENV = {"SOURCE_DATE_EPOCH": "1700000000"}
DOCKERFILE = """\
FROM bb AS first
ENV A=1
RUN echo first; sleep .6; echo error >&2; echo first > /first
RUN echo again; echo again >> /first
FROM bb AS second
WORKDIR /w
RUN echo second; sleep .3; echo second > /second
FROM bb AS third
ARG unknown
RUN echo third; echo third > /third
FROM second AS fourth
COPY file /file
RUN echo fourth; cat /second /file > /fourth
FROM bb
COPY --from=first /first /first
COPY --from=third /third /third
COPY --from=fourth /fourth /fourth
RUN cat /first /third /fourth
"""


class Builds:
    """Builds with both streams in one pipe, and what is left of them."""

    def __init__(self, workshop: Workshop, storage: Path) -> None:
        self.workshop = workshop
        self.storage = storage
        self.directory = workshop.context.parent
        workshop.write({"file": "file\n"})

    def start(
        self, dockerfile: str, *options: str, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        path = self.directory / "Dockerfile"
        path.write_text(dockerfile)
        line = [*command("ch-image"), "build", "-t", "img", "-f", str(path), *options]
        return subprocess.Popen(
            [*prefix, *line, self.workshop.context],
            env=os.environ | ENV | {"CH_IMAGE_STORAGE": str(self.storage)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def build(
        self, dockerfile: str, *options: str, prefix: tuple[str, ...] = ()
    ) -> tuple[int, str]:
        """Return the status and the output."""
        running = self.start(dockerfile, *options, prefix=prefix)
        output, _ = running.communicate(timeout=120)
        return running.returncode, output

    def both_ways(self, dockerfile: str, *options: str) -> tuple[int, str]:
        """Build anew with one job and with four; return what is equal, as is the image's ID."""
        seen = []
        file = self.directory / "id"
        for jobs in (1, 4):
            self.workshop.ch_image("build-cache", "--reset")
            built = self.build(dockerfile, f"--jobs={jobs}", f"--iidfile={file}", *options)
            seen.append((*built, file.read_text()))
        assert seen[0] == seen[1]
        self.check_nothing_is_left()
        return seen[0][:2]

    def check_nothing_is_left(self) -> None:
        until(self._is_tidied, "something is left")
        assert [name for name in os.listdir(self.storage / "locks") if name != "use"] == []

    def _is_tidied(self) -> bool:
        """Tell whether no command leaves anything.

        Another test may have mounted the same layer: an image with it waits for a later command.
        """
        left = left_behind(self.storage)
        if left == os.listdir(self.storage / "tmp/trash"):
            self.workshop.ch_image("list")
            left = left_behind(self.storage)
        return left == []


@pytest.fixture
def builds(any_workshop: Workshop, storage: Path) -> Builds:
    return Builds(any_workshop, storage)


@pytest.fixture
def builds_on_each_driver(workshop: Workshop, storage: Path) -> Builds:
    return Builds(workshop, storage)


def test_output_and_results_are_those_of_one_job(builds_on_each_driver: Builds) -> None:
    builds = builds_on_each_driver
    status, output = builds.both_ways(DOCKERFILE, "--build-arg=unused=1")
    assert status == 0
    assert "first\nagain\nthird\nsecond\nfile\n" in output
    assert "grown in 18 instructions: img\n" in output
    cached = [builds.build(DOCKERFILE, f"--jobs={jobs}") for jobs in (1, 4)]
    assert cached[0] == cached[1]


MEETING = """\
FROM bb AS a
RUN touch /m/a; until test -e /m/b; do sleep .05; done
FROM bb AS b
RUN touch /m/b; until test -e /m/a; do sleep .05; done
FROM bb
COPY --from=a /etc /a
COPY --from=b /etc /b
"""


@pytest.fixture
def meeting(builds: Builds) -> str:
    """Return the option that shows RUN a directory of the host."""
    (builds.directory / "m").mkdir()
    return f"--bind={builds.directory}/m:/m"


def test_stages_run_at_the_same_time_by_default(builds: Builds, meeting: str) -> None:
    assert builds.build(MEETING, meeting, "--jobs=2")[0] == 0
    builds.check_nothing_is_left()


COUNTED = """
import os
os.register_at_fork(after_in_parent=lambda: os.write(2, b"fork\\n"))
"""


def test_a_cached_build_forks_nothing_more(builds: Builds) -> None:
    def forks(*options: str) -> int:
        argv = ("build", "-t", "img", "-f", str(builds.directory / "Dockerfile"), *options)
        done = builds.workshop.prepared(COUNTED, *argv, str(builds.workshop.context))
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines().count("fork")

    builds.build(DOCKERFILE)
    assert forks("--jobs=4") == forks("--jobs=1")
    assert forks("--jobs=4", "--no-cache") > forks("--jobs=1", "--no-cache")


def test_missing_bases_are_pulled_at_the_same_time(builds: Builds, busybox_tar: Path) -> None:
    shelf = Shelf()
    base = shelf.tar_layer(busybox_tar.read_bytes())
    for name in "ab":
        shelf.image(base, shelf.layer(file("own", name.encode())), tag=f"{name}:1")
    asked = {name: threading.Event() for name in "ab"}
    together = []

    def wait(request: Asked, answer: Answer) -> Answer:
        match = re.match("/v2/([ab])/blobs/", request.path)
        if match:
            asked[match[1]].set()
            together.append(all(event.wait(20) for event in asked.values()))
        return answer

    with FaultyRegistry(shelf).serve() as registry:
        registry.faults.append(wait)
        host = registry.host
        status, output = builds.build(
            f"FROM {host}/a:1 AS a\nFROM {host}/b:1 AS b\n"
            "FROM bb\nCOPY --from=a /own /a\nCOPY --from=b /own /b\nRUN cat /b /a\n",
            "--jobs=2",
        )
    assert status == 0, output
    assert "ba" in output
    assert together
    assert all(together)


EQUAL = """\
FROM bb AS a
ENV E=1
RUN echo one; mktemp /m/XXXXXX > /dev/null; sleep .3; echo one > /one
RUN echo two; mktemp /m/XXXXXX > /dev/null; echo two > /two
RUN echo a > /a
FROM bb AS b
ENV E=1
RUN echo one; mktemp /m/XXXXXX > /dev/null; sleep .3; echo one > /one
RUN echo two; mktemp /m/XXXXXX > /dev/null; echo two > /two
RUN echo b > /b
FROM bb
COPY --from=a / /a
COPY --from=b / /b
"""


def test_equal_steps_of_two_stages_run_once(builds: Builds, meeting: str) -> None:
    status, output = builds.both_ways(EQUAL, meeting)
    assert status == 0
    assert len(os.listdir(builds.directory / "m")) == 4  # two of each build
    assert output.count("\none\n") == output.count("\ntwo\n") == 1


def test_what_a_trigger_needs(builds: Builds) -> None:
    """It is built when the trigger is seen, by whoever sees it."""
    builds.build("FROM bb\nONBUILD COPY --from=tool /tool /tool\nONBUILD RUN cat /tool\n")
    builds.workshop.ch_image("tag", "img", "base")
    dockerfile = """\
FROM bb AS tool
RUN sleep .2; echo tool > /tool
FROM bb AS other
RUN echo other > /other
FROM base AS first
RUN echo first
FROM bb
COPY --from=other /other /other
COPY --from=first /tool /tool
"""
    status, output = builds.both_ways(dockerfile)
    assert status == 0
    assert output.count("echo tool > /tool") == 1
    status, output = builds.both_ways(dockerfile.replace("AS first\n", "AS first\nRUN true\n"))
    assert status == 0


SWITCHING = """\
FROM bb AS a
RUN sleep .5; touch /a; chown 5:6 /a; test "$(stat -c %u:%g /a)" = 5:6
FROM bb AS b
RUN echo b; touch /b; chown 7:8 /b
RUN echo more
FROM bb
COPY --from=a /a /a
COPY --from=b /b /b
RUN stat -c %u:%g /a /b
"""


def test_later_stages_have_notify_as_with_one_job(builds: Builds) -> None:
    status, output = builds.both_ways(SWITCHING)
    assert status == 0
    assert "RUN.C echo b" in output
    again = [builds.build(SWITCHING, f"--jobs={jobs}") for jobs in (1, 4)]
    assert again[0] == again[1]


BEGINNING_AGAIN = """\
FROM bb AS a
RUN touch /a; chown 5:6 /a
FROM bb AS b
RUN sleep .2; echo b > /b
FROM a AS c
RUN touch /c; chown 5:6 /c; test "$(stat -c %u:%g /c)" = 5:6
RUN test "$(stat -c %u:%g /a)" = 5:6
FROM bb
COPY --from=b /b /b
COPY --from=c /a /a
RUN stat -c %u:%g /a
"""


def test_a_build_that_begins_again(builds: Builds) -> None:
    for jobs in (1, 4):
        builds.workshop.ch_image("build-cache", "--reset")
        status, output = builds.build(BEGINNING_AGAIN, f"--jobs={jobs}")
        assert status == 0, output
        assert "building again from the start under notify" in output
        builds.check_nothing_is_left()


FAILING = """\
FROM bb AS a
RUN echo a1 > /a
RUN --mount=type=cache,target=/c,sharing=locked touch /m/a; sleep 98765
FROM bb AS b
RUN echo b1 > /b
RUN echo beginning; until test -e /m/a; do sleep .05; done; {wait} echo b; exit 3
FROM bb AS c
RUN echo c1; until test -e /m/a; do sleep .05; done; {wait} exit 4
FROM bb AS d
RUN echo d > /d
FROM bb
COPY --from=a / /a
COPY --from=b / /b
COPY --from=c / /c
COPY --from=d / /d
"""


def test_a_failure(builds: Builds, meeting: str) -> None:
    """The others end, what was done stays in the cache, the error comes last, with its lines."""
    dockerfile = FAILING.format(wait="until test -e /m/c; do sleep .05; done;").replace(
        "RUN echo c1; until test -e /m/a",
        "RUN echo c1; touch /m/c; sleep 98765; until test -e /m/a",
    )
    status, output = builds.build(dockerfile, meeting, "--jobs=4")
    assert status == 1
    lines = output.splitlines()
    assert lines[-6:-4] == ["beginning", "b"]
    assert lines[-4].endswith("Dockerfile:6: build failed: RUN command exited with 3")
    assert lines[-1].endswith("ch-run -W --set-env img:latest_failed -- /bin/sh")
    assert builds.workshop.run("cat /b", "img:latest_failed") == "b1\n"
    builds.check_nothing_is_left()
    quick = (
        dockerfile.replace("sleep 98765", "true")
        .replace("exit 3", "true")
        .replace("exit 4", "true")
    )
    done = builds.workshop.build(quick, meeting, "--jobs=4", env=ENV)
    kept = [text for _, status, text in announced(done) if status == "*"]
    assert [text for text in kept if "1 > " in text or "/d" in text] == [
        "RUN.S echo a1 > /a",
        "RUN.S echo b1 > /b",
        "RUN.S echo d > /d",
    ]
    assert builds.workshop.ch_image("list").stdout == "bb\nimg\n"


@pytest.mark.parametrize("jobs", [1, 4])
def test_going_on_after_a_failure(builds: Builds, meeting: str, jobs: int) -> None:
    dockerfile = FAILING.format(wait="").replace("sleep 98765", "true")
    status, output = builds.build(dockerfile, meeting, f"--jobs={jobs}", "--keep-going")
    assert status == 1
    assert output.index("c1\n") < output.index("echo d > /d")
    lines = output.splitlines()
    assert lines[-5] == "failed, too: build failed: RUN command exited with 4"
    assert lines[-4].endswith("Dockerfile:6: build failed: RUN command exited with 3")
    builds.check_nothing_is_left()


def test_lines_of_a_failure_that_is_not_shown_before(builds: Builds) -> None:
    """Each process has its own file of last lines."""
    dockerfile = MEETING.replace("RUN touch /m/a; ", "RUN seq 100; ").replace("/m/b", "/etc")
    dockerfile = dockerfile.replace(
        "RUN touch /etc; until test -e /m/a", "RUN seq 20; exit 1; if 0"
    )
    dockerfile = dockerfile.replace("; do sleep .05; done\nFROM bb\n", "\nFROM bb\n")
    dockerfile = dockerfile.replace("; if 0", "")
    status, output = builds.build(dockerfile, "-qqq", "--jobs=4")
    assert status == 1
    shown = output[output.index("its last lines:\n") :].splitlines()
    assert shown[1:11] == [f"   {number}" for number in range(11, 21)]


def test_json_names_the_vertex_of_each_message(builds: Builds, meeting: str) -> None:
    dockerfile = MEETING.replace("done\n", "done; echo $HOSTNAME-own\n")
    dockerfile = dockerfile.replace("$HOSTNAME", "a", 1).replace("$HOSTNAME", "b", 1)
    status, output = builds.build(dockerfile, meeting, "--jobs=2", "--progress=rawjson")
    assert status == 0
    names, logs, last = {}, {}, {}
    for line in output.splitlines():
        status_line = json.loads(line)
        for vertex in status_line.get("vertexes", ()):
            names[vertex["digest"]] = vertex["name"]
            last[vertex["digest"]] = vertex
        for log in status_line.get("logs", ()):
            logs[b64decode(log["data"]).decode()] = names[log["vertex"]]
    assert logs["a-own\n"].startswith("[a 2/2] RUN")
    assert logs["b-own\n"].startswith("[b 2/2] RUN")
    assert all("completed" in vertex for vertex in last.values())
    (final,) = [vertex for vertex in last.values() if vertex["name"].startswith("[stage-2 1/")]
    assert [names[digest][:6] for digest in final["inputs"]] == ["[a 2/2", "[b 2/2"]


PATIENT = """\
FROM bb AS a
RUN echo a; touch /m/a; sleep 98765
FROM bb AS b
RUN --mount=type=cache,target=/c,sharing=locked echo b; touch /m/b; sleep 98765
FROM bb AS c
RUN echo c; touch /m/c; sleep 98765
FROM bb
COPY --from=a / /a
COPY --from=b / /b
COPY --from=c / /c
"""


def under_way(builds: Builds) -> Callable[[], bool]:
    return lambda: len(os.listdir(builds.directory / "m")) == 3


def children(pid: int) -> list[int]:
    text = f"/proc/{pid}/task/{pid}/children"
    with open(text, encoding="utf-8") as file:
        return [int(each) for each in file.read().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption(builds: Builds, meeting: str, number: signal.Signals) -> None:
    running = builds.start(PATIENT, meeting, "--jobs=4")
    until(under_way(builds))
    os.kill(running.pid, number)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == -number, output
    assert "Traceback" not in output
    builds.check_nothing_is_left()
    assert builds.build(PATIENT.replace("sleep 98765", "true"), meeting)[0] == 0


def test_the_process_of_a_stage_is_killed(builds: Builds, meeting: str) -> None:
    running = builds.start(PATIENT, meeting, "--jobs=4")
    until(under_way(builds))
    stages = [pid for pid in children(running.pid) if children(pid)]
    os.kill(stages[0], signal.SIGKILL)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "the process of a stage has ended: [" in output
    assert ": signal 9\nhint: " in output
    builds.check_nothing_is_left()


def test_no_process_outlives_a_build_that_is_killed(builds: Builds, meeting: str) -> None:
    running = builds.start(PATIENT, meeting, "--jobs=4")
    until(under_way(builds))
    stages = children(running.pid)
    running.kill()
    running.communicate(timeout=30)  # all of them had its output open
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in stages))
    assert builds.build(PATIENT.replace("sleep 98765", "true"), meeting)[0] == 0
    builds.check_nothing_is_left()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_at_any_moment(builds: Builds) -> None:
    """A process is killed or interrupted; the next build is right, and nothing remains."""
    started = time.monotonic()
    builds.build(DOCKERFILE, "--jobs=4", "--no-cache")
    duration = time.monotonic() - started
    chance = random.Random(26)
    for turn in range(TURNS):
        builds.workshop.ch_image("build-cache", "--reset")
        running = builds.start(DOCKERFILE, "--jobs=4")
        time.sleep(chance.uniform(0.05, duration))
        number = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        victims = [running.pid]
        try:
            victims += children(running.pid)
            os.kill(chance.choice(victims), number)
        except (FileNotFoundError, ProcessLookupError):
            pass
        output, _ = running.communicate(timeout=60)
        assert "Traceback" not in output, (turn, output)
        status, output = builds.build(DOCKERFILE, "--jobs=4")
        assert status == 0, (turn, output)
        assert builds.workshop.run("cat /first /third /fourth").split() == [
            *("first", "again", "third", "second", "file")
        ]
        builds.check_nothing_is_left()


def test_few_processes_are_allowed(builds: Builds) -> None:
    """A stage that can't be forked is built later, or by the build itself."""
    # The processes of this user elsewhere do not count in a user namespace: Linux 5.14.
    limit = ("unshare", "--user", "--map-current-user", "prlimit", "--nproc=64")
    status, output = builds.build(DOCKERFILE, "--jobs=8", prefix=limit)
    assert status == 0, output
    builds.check_nothing_is_left()


def test_a_full_disk(
    builds: Builds, busybox_tar: Path, small_tmpfs: Callable[[int, str], Path]
) -> None:
    full = small_tmpfs(12 << 10, "")
    builds.storage = full / "storage"
    env = {"CH_IMAGE_STORAGE": str(builds.storage)}
    builds.workshop.ch_image("import", busybox_tar, "bb", env=env)
    dockerfile = MEETING.replace(
        "touch /m/a; until test -e /m/b", "cat /dev/zero > /big; while false"
    )
    status, output = builds.build(
        dockerfile.replace("-e /m/a", "-d /"), "--jobs=2", "--bind=/tmp:/m"
    )
    assert status == 1
    assert f"no space left on tmpfs at {full}" in output
    assert left_behind(builds.storage) == []
    assert builds.build("FROM bb\nRUN true\n")[0] == 0


def test_claims_as_locks(builds: Builds) -> None:
    claims = builds.storage / "locks/claims"
    claims.mkdir(mode=0o700)
    script = (
        "import sundog.image.store.locks as locks\n"
        "locks.is_shared = lambda *_: True\n"
        "locks.are_seen_by_all = lambda *_: False\n"
    )
    (builds.directory / "Dockerfile").write_text(DOCKERFILE)
    argv = ("build", "-t", "img", "-f", str(builds.directory / "Dockerfile"), "--jobs=4")
    done = builds.workshop.prepared(script, *argv, str(builds.workshop.context))
    assert done.returncode == 0, done.stderr
    assert os.listdir(claims) == []
    claims.rmdir()
    builds.check_nothing_is_left()


SILENT = """
import sundog.image.builder.jobs.screen as screen
screen.SILENCE = 0.2
"""


def test_a_line_says_what_runs_in_silence(builds: Builds) -> None:
    dockerfile = "FROM bb AS a\nRUN sleep .8\nFROM bb AS b\nRUN sleep .5; true\nFROM a\n"
    (builds.directory / "Dockerfile").write_text(f"{dockerfile}COPY --from=b / /b\n")
    argv = ("build", "-t", "img", "-f", str(builds.directory / "Dockerfile"), "--jobs=4")
    done = builds.workshop.prepared(SILENT, *argv, str(builds.workshop.context))
    assert done.returncode == 0, done.stderr
    assert "still running: [a 2/2] RUN.S sleep .8 (0 s); [b 2/2] RUN.S sleep .5; true (0 s)\n" in (
        done.stderr
    )


def test_a_terminal_shows_what_runs(builds: Builds, meeting: str) -> None:
    """It has a line for each, with its last line of output; in the end, they are gone."""
    dockerfile = PATIENT.replace("sleep 98765", "until test -e /m/go; do sleep .05; done")
    (builds.directory / "Dockerfile").write_text(dockerfile)
    controller, terminal = pty.openpty()
    argv = [*command("ch-image"), "build", "-t", "img", "-f", str(builds.directory / "Dockerfile")]
    running = subprocess.Popen(
        [*argv, meeting, "--jobs=4", str(builds.workshop.context)],
        env=os.environ | {"CH_IMAGE_STORAGE": str(builds.storage), "TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""

    def read() -> bool:
        nonlocal seen
        with suppress(OSError):  # the terminal has no other end
            seen += os.read(controller, 1 << 16)
        return all(
            re.search(rb"\[%c 2/2\] RUN[^\r]* s\) %c" % (name, name), seen) for name in b"bc"
        )

    until(read)
    (builds.directory / "m/go").touch()
    until(lambda: read() and running.poll() is not None)
    read()
    os.close(controller)
    assert running.returncode == 0
    assert b"grown in " in seen.rpartition(b"\033[2K")[2]


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "99999"])
def test_a_wrong_number_of_jobs(builds: Builds, text: str) -> None:
    status, output = builds.build("FROM bb\n", f"--jobs={text}")
    assert status == 2
    assert f"error: --jobs: not a number of jobs: {text}\nhint: as in 4; 0 is no limit\n" in output
    done = builds.workshop.build("FROM bb\n", env={"CH_IMAGE_JOBS": text}, check=False)
    assert f"error: $CH_IMAGE_JOBS: not a number of jobs: {text}\n" in done.stderr
