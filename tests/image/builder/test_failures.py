"""Builds that fail, are interrupted or are killed, on each driver."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from sundog.errors import (
    BuildError,
    DigestMismatch,
    KernelError,
    ManifestError,
    PidNamespaceRefused,
    PlatformUnavailable,
    StoreError,
    SundogError,
    UsageError,
)
from sundog.image.builder.failure import is_fault
from tests.conftest import KILLS, command, until
from tests.image.builder.conftest import LINE, announced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.image.builder.conftest import Workshop


def left_behind(storage: Path) -> list[str]:
    """Return what is in the store's directory for temporary files."""
    return [name for name in os.listdir(storage / "tmp") if name != "trash"] + os.listdir(
        storage / "tmp/trash"
    )


@pytest.mark.parametrize(
    ("command_text", "outcome"),
    [
        ("false", "exited with 1"),
        ("exit 42", "exited with 42"),
        ("nosuchcommand", "exited with 127"),
        ("kill -9 $$", "was killed by signal 9 (SIGKILL)"),
        ("kill -SEGV $$", "was killed by signal 11 (SIGSEGV)"),
    ],
)
def test_failing_run(workshop: Workshop, storage: Path, command_text: str, outcome: str) -> None:
    workshop.build("FROM bb\nRUN echo old >/state\n")
    dockerfile = f"FROM bb\nRUN echo kept\nRUN echo debris >/debris; {command_text}\n"
    done = workshop.build(dockerfile, check=False)
    assert done.returncode == 1
    error = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert error[0].endswith(f"Dockerfile:3: build failed: RUN command {outcome}")
    assert error[1] == f"   3 | RUN echo debris >/debris; {command_text}"
    assert error[2].endswith("~~^")
    assert error[3:] == [
        "hint: look at the state before it: ch-run -W --set-env bb -- /bin/sh",
    ]
    assert left_behind(storage) == []
    assert workshop.run("cat /state; ls /debris 2>/dev/null; true") == "old\n"
    again = workshop.build(dockerfile, check=False)
    assert [status for _, status, _ in announced(again)] == ["*", "*", "."]


def test_command_that_cannot_be_executed(any_workshop: Workshop) -> None:
    done = any_workshop.build('FROM bb\nRUN ["/bin/nothing", "x"]\n', check=False)
    assert done.returncode == 1
    place = "Dockerfile:2: can't execve(2): /bin/nothing: No such file or directory\n"
    assert place + '   2 | RUN ["/bin/nothing", "x"]\n' in done.stderr
    done = any_workshop.build("FROM scratch\nRUN true\n", check=False)
    assert "Dockerfile:2: can't execve(2): /bin/sh: No such file or directory\n" in done.stderr
    assert "hint: the image has no shell; " in done.stderr


@pytest.mark.parametrize("instruction", ["RUN exit 3", "COPY missing /", "RUN --mount=target=/x x"])
def test_the_last_good_state_has_a_name(workshop: Workshop, instruction: str) -> None:
    workshop.build("FROM bb\nRUN echo old >/state\n")
    good = "FROM bb\nENV A=1\nWORKDIR /w\nRUN echo new >/state\nLABEL x=y\n"
    done = workshop.build(f"{good}{instruction}\nRUN echo never\n", check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "look at the state before it: ch-run -W --set-env img:latest_failed -- /bin/sh"
    )
    script = "cat /state; ls -d /w; echo $A >/new; cat /new"
    argv = ("-W", "--set-env", "img:latest_failed", "--", "/bin/sh", "-c", script)
    assert workshop.ch_run(*argv).stdout == "new\n/w\n1\n"
    assert workshop.run("cat /state") == "old\n"
    assert workshop.ch_image("list").stdout == "bb\nimg\nimg:latest_failed\n"
    workshop.build(good)
    assert workshop.ch_image("list").stdout == "bb\nimg\n"


def test_in_a_later_stage_and_under_several_names(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb AS a\nRUN echo a >/a\nFROM a\nRUN exit 1\n"
    done = any_workshop.build(dockerfile, "-t", "x/y:1", tag="first:2", check=False)
    assert "ch-run -W --set-env first:2_failed -- /bin/sh" in done.stderr
    assert any_workshop.run("cat /a", "first:2_failed") == "a\n"


def test_output_that_is_not_shown_is_shown_in_the_end(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nRUN seq 100; echo '\033[1mdone' >&2\nRUN seq 20; echo no >&2; exit 1\n"
    done = any_workshop.build(dockerfile, "-qqq", check=False)
    assert done.stdout == ""
    shown = done.stderr[done.stderr.index("its last lines:\n") :].splitlines()
    assert shown[1:-1] == [f"   {number}" for number in range(12, 21)] + ["   no"]
    assert any_workshop.build(dockerfile, "-q", check=False).stdout.endswith("19\n20\n")


def test_nothing_that_run_started_outlives_it(workshop: Workshop) -> None:
    # A build that waited for this process would not end either.
    marker = f"sleep 987653{os.getpid()}"
    workshop.build(f"FROM bb\nRUN ({marker}; echo late >/late)& true\nRUN test ! -e /late\n")
    assert not processes(marker)
    assert workshop.run("ls /late 2>/dev/null; true") == ""


def test_run_that_puts_itself_into_another_session(workshop: Workshop) -> None:
    marker = f"sleep 987654{os.getpid()}"
    workshop.build(f"FROM bb\nRUN setsid sh -c '(trap \"\" HUP TERM INT; {marker})' & sleep 0.1\n")
    assert not processes(marker)


def processes(command_line: str) -> list[int]:
    """Return the processes whose command line contains ``command_line``."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if name.isdigit() and command_line in words and int(name) != os.getpid():
            found.append(int(name))
    return found


def start_build(workshop: Workshop, storage: Path, dockerfile: str) -> subprocess.Popen[str]:
    path = workshop.context.parent / "Dockerfile"
    path.write_text(dockerfile)
    return subprocess.Popen(
        [*command("ch-image"), "build", "-t", "img", "-f", str(path), str(workshop.context)],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGINT, "error: interrupted (SIGINT)"),
        (signal.SIGTERM, "error: terminated (SIGTERM)"),
    ],
)
def test_interrupted(
    workshop: Workshop, storage: Path, number: int, message: str, *, whole_group: bool
) -> None:
    """^C goes to the whole group, ``kill`` only to the process."""
    marker = f"sleep 98765{number}{os.getpid()}"  # other workers run the same test
    build = start_build(workshop, storage, f"FROM bb\nRUN trap '' INT TERM; {marker} & {marker}\n")
    until(lambda: len(processes(marker)) >= 2)
    if whole_group:
        os.killpg(build.pid, number)
    else:
        os.kill(build.pid, number)
    output, _ = build.communicate(timeout=20)
    assert build.returncode == -number
    assert output.splitlines()[2:] == [message]
    assert processes(marker) == []
    assert left_behind(storage) == []


GIT = """\
#!/bin/sh
while [ "$1" = -c ]; do shift 2; done
case $1 in
    init) mkdir -p .git/objects/pack;;
    ls-remote) echo "0123456789012345678901234567890123456789\tHEAD";;
    cat-file) test {stage} != fetch;;
    {stage}) trap '' INT TERM PIPE; {marker} & {marker};;
esac
"""


@pytest.mark.parametrize("stage", ["fetch", "ls-tree", "checkout"])
def test_interrupted_git(
    workshop: Workshop, storage: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A server may keep git and its helpers busy for ever: all end with the build."""
    marker = f"sleep 98763{os.getpid()}"
    program = workshop.context.parent / "bin/git"
    program.parent.mkdir()
    program.write_text(GIT.format(stage=stage, marker=marker))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    build = start_build(workshop, storage, "FROM bb\nADD git://nowhere.test/r.git /x\n")
    until(lambda: len(processes(marker)) >= 2)
    os.kill(build.pid, signal.SIGTERM)
    build.communicate(timeout=20)
    assert build.returncode == -signal.SIGTERM
    assert processes(marker) == []
    assert left_behind(storage) == []


def test_killed_build_takes_its_processes_along(workshop: Workshop, storage: Path) -> None:
    marker = f"sleep 987651{os.getpid()}"
    build = start_build(workshop, storage, f"FROM bb\nRUN {marker} & {marker}\n")
    until(lambda: len(processes(marker)) >= 2)
    os.kill(build.pid, signal.SIGKILL)
    build.communicate(timeout=20)
    until(lambda: not processes(marker))


SIX_STEPS = """\
FROM bb
RUN echo {n} >/1 && rm /bin/ls
COPY d /d
RUN mv /d/x /y && mkdir -m 0 /hidden
WORKDIR /w
RUN echo 2 >2
RUN find / -xdev -name nothing; echo {n} >/n
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_moment(workshop: Workshop, storage: Path) -> None:
    """After each kill: list is clean, the old image runs, finished steps hit, nothing remains."""
    workshop.write({"d/x": "x"})
    workshop.build(SIX_STEPS.format(n="old"))
    started = time.monotonic()
    workshop.build(SIX_STEPS.format(n="warm"), "--no-cache", tag="warm")
    duration = time.monotonic() - started
    workshop.ch_image("delete", "warm")
    chance = random.Random(7)
    image = "old"
    for number in range(KILLS // 2):  # on each driver
        dockerfile = SIX_STEPS.format(n=number)
        build = start_build(workshop, storage, dockerfile)
        time.sleep(chance.uniform(0.05, duration * 1.1))
        os.killpg(build.pid, signal.SIGKILL)
        output, _ = build.communicate(timeout=20)
        if "grown in 7 instructions" in output:
            image = str(number)
        assert workshop.ch_image("list").stdout == "bb\nimg\n"
        assert workshop.run("cat /n") in (f"{image}\n", f"{number}\n")
        # The last announced instruction may not be finished.
        finished = len([line for line in output.splitlines() if LINE.fullmatch(line)]) - 1
        done = workshop.build(dockerfile)
        image = str(number)
        statuses = "".join(status for _, status, _ in announced(done))
        assert statuses.startswith("*" * finished)
        assert workshop.run("cat /n") == f"{number}\n"
        assert left_behind(storage) == []


@pytest.mark.parametrize(
    ("instruction", "outcome"),
    [
        ("COPY big /", "no space left on tmpfs at {full}"),
        ("RUN cat /dev/zero >/big", "hint: no space left on tmpfs at {full}"),
    ],
)
def test_full_file_system(
    any_workshop: Workshop,
    busybox_tar: Path,
    small_tmpfs: Callable[[int, str], Path],
    instruction: str,
    outcome: str,
) -> None:
    full = small_tmpfs(12 << 10, "")
    storage = full / "storage"
    env = {"CH_IMAGE_STORAGE": str(storage)}
    any_workshop.write({"big": "x" * (12 << 20)})
    any_workshop.ch_image("import", busybox_tar, "bb", env=env)
    done = any_workshop.build(f"FROM bb\n{instruction}\n", check=False, env=env)
    assert done.returncode == 1
    assert outcome.format(full=full) in done.stderr
    assert f": storage directory {storage}" in done.stderr
    assert left_behind(storage) == []
    assert any_workshop.ch_image("list", env=env).stdout == "bb\n"
    any_workshop.build("FROM bb\nRUN true\n", env=env)


class Unheard(SundogError):
    """An error of a class that nobody has heard of."""


@pytest.mark.parametrize(
    ("error", "is_shown"),
    [
        (SundogError("x"), True),
        (Unheard("x"), True),
        (BuildError("x"), True),
        (ManifestError("x"), True),
        (DigestMismatch("x"), True),
        (PlatformUnavailable("x"), True),
        (UsageError("x"), False),
        (StoreError("x"), False),
        (PidNamespaceRefused("x"), False),
        (KernelError("mount(2)", "/", 1, "x"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_an_instruction_is_to_blame_for_has_a_place(
    error: SundogError, is_shown: bool
) -> None:
    assert is_fault(error) is is_shown
