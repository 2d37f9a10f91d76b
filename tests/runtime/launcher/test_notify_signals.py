"""``ch-run --notify`` behaves like its command: signals, the terminal, streams, and deaths."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages

if TYPE_CHECKING:
    from collections.abc import Generator

DEADLINE = 30  # seconds; a busy machine may need them for a prompt or a death


@pytest.fixture
def tree(image: Path) -> Path:
    """An image with the programs of these tests."""
    for applet in ("setsid", "sync", "tr", "yes", "head", "grep"):
        (image / "bin" / applet).symlink_to("busybox")
    return image


STANDING_IN = """
import os, signal, sys
from sundog.runtime.launcher import stand_in
from sundog.runtime.launcher.messages import Messages
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
reading, writing = os.pipe()
supervisor = os.fork()
if supervisor == 0:
    os.close(writing)
    if sys.argv[1] == "stays":
        os.read(reading, 1)
    os._exit(0)
if sys.argv[1] == "ends":
    os.waitid(os.P_PID, supervisor, os.WEXITED | os.WNOWAIT)
looks = []
class Members:
    def end(self, is_over, spared, wait):
        while not is_over():
            looks.append(spared)
            os.close(writing)
            wait(60)
command = os.fork()
if command == 0:
    os._exit(7)
status = stand_in.StandIn(command, supervisor, Members()).stand(Messages())
print(status, looks == [{os.getpid(), supervisor}] if looks else "no look")
"""


@pytest.mark.parametrize(("supervisor", "told"), [("ends", b"7 no look\n"), ("stays", b"7 True\n")])
def test_who_is_left_is_looked_for_if_there_may_be_any(supervisor: str, told: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STANDING_IN, supervisor], capture_output=True, check=True
    )
    assert done.stdout == told


def test_a_caller_that_ignores_its_children(installed: Path, tree: Path) -> None:
    done = subprocess.run(
        [installed, "--notify", tree, "--", "sh", "-c", "echo; exit 7"],
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\n", b"")


def start(installed: Path, tree: Path, script: str) -> subprocess.Popen[bytes]:
    """Start a script; return after its first line of output."""
    process = subprocess.Popen(
        [installed, "--notify", tree, "--", "sh", "-c", script],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def children(process: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [
            int(word)
            for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    return []


def supervisor_and_command(process: int) -> tuple[int, int]:
    """Return the process IDs of both; only the command is under a filter."""
    found = {}
    for child in children(process):
        status = Path(f"/proc/{child}/status").read_text()
        found["Seccomp:\t2\n" in status] = child
    return found[False], found[True]


def alive(marker: str) -> list[str]:
    """Return the processes with ``marker`` in their command line, without zombies."""
    done = subprocess.run(["pgrep", "-f", marker], capture_output=True, text=True, check=False)
    return done.stdout.split()


def wait_until_dead(marker: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while alive(marker):
        assert time.monotonic() < deadline, alive(marker)
        time.sleep(0.02)


# Status and signals


@pytest.mark.parametrize("status", [0, 1, 31, 49, 255])
def test_exit_status(ch_run: ChRun, tree: Path, status: int) -> None:
    assert ch_run("--notify", tree, "--", "sh", "-c", f"exit {status}").returncode == status


def test_a_command_that_does_not_exist(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("--notify", tree, "--", "/nonexistent")
    assert done.returncode == 49
    assert messages(done) == ["error: can't execve(2): /nonexistent: No such file or directory"]


@pytest.mark.parametrize("name", ["HUP", "INT", "KILL", "SEGV", "PIPE", "TERM", "USR1"])
def test_it_dies_of_the_commands_signal(ch_run: ChRun, tree: Path, name: str) -> None:
    done = ch_run("--notify", tree, "--", "sh", "-c", f"kill -{name} $$")
    assert done.returncode == -getattr(signal, f"SIG{name}")


def test_timeout_ends_it(installed: Path, tree: Path) -> None:
    done = subprocess.run(
        ["timeout", "-s", "TERM", "1", installed, "--notify", tree, "--", "sleep", "1234"],
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 124


@pytest.mark.parametrize(
    "name", ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "WINCH", "URG", "CONT", "RTMIN"]
)
def test_signals_are_passed_on(installed: Path, tree: Path, name: str) -> None:
    number = signal.Signals[f"SIG{name}"].value
    script = f"trap 'echo got; exit 5' {number}; echo ready; while :; do sleep 0.05; done"
    process = start(installed, tree, script)
    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, output) == (5, b"got\n")


def test_ignored_signals_stay_ignored(installed: Path, tree: Path) -> None:
    """nohup ignores SIGHUP, and & in a script ignores SIGINT and SIGQUIT."""
    script = f"nohup {installed} --notify {tree} -- grep SigIgn /proc/self/status <&- 2>&1 & wait"
    done = subprocess.run(
        ["dash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    match = re.search(r"SigIgn:\t([0-9a-f]+)", done.stdout)
    assert match, done
    ignored = int(match[1], 16)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        assert ignored >> number - 1 & 1


def test_the_commands_world_is_the_callers(ch_run: ChRun, tree: Path) -> None:
    script = (
        "tr '\\0' '\\n' </proc/self/environ; grep -E '^(Sig|Shd)' /proc/self/status;"
        " ls /proc/self/fd; umask; cat"
    )
    plain = ch_run(tree, "--", "sh", "-c", script, stdin=b"input\n")
    ours = ch_run("--notify", tree, "--", "sh", "-c", script, stdin=b"input\n")
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr == b""


def test_streams_are_the_commands_alone(installed: Path, tree: Path) -> None:
    """If the command closes its input and output, the other ends of the pipes notice it."""
    process = subprocess.Popen(
        [
            installed,
            "--notify",
            tree,
            "--",
            "sh",
            "-c",
            "exec <&- >&-; while :; do sleep 0.1; done",
        ],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read() == b""
    with pytest.raises(BrokenPipeError):
        os.write(process.stdin.fileno(), b"x")
    process.terminate()
    process.wait(timeout=DEADLINE)
    process.stdin.close()
    process.stdout.close()


# Deaths


def test_what_the_command_leaves_running_ends_with_it(ch_run: ChRun, tree: Path) -> None:
    marker = f"leftover-{os.getpid()}"
    script = f"for i in 1 2 3; do (setsid sh -c ': {marker}; while :; do sleep 1; done' &); done"
    done = ch_run("--notify", tree, "--", "sh", "-c", f"{script} >&- 2>&-; exit 3")
    assert done.returncode == 3
    assert alive(marker) == []


def test_the_supervisor_has_a_group_of_its_own_in_the_commands_session(
    installed: Path, tree: Path
) -> None:
    """The kernel may schedule each session apart, and then each switch between two is dearer."""
    process = start(installed, tree, "echo; while :; do :; done")
    supervisor, command = supervisor_and_command(process.pid)
    groups = {os.getpgid(supervisor), os.getpgid(command)}
    sessions = {os.getsid(supervisor), os.getsid(command)}
    process.kill()
    process.communicate(timeout=DEADLINE)
    assert len(groups) == 2
    assert len(sessions) == 1


@pytest.mark.parametrize("victim", ["ch-run", "supervisor"])
def test_nothing_goes_on_half_emulated(installed: Path, tree: Path, victim: str) -> None:
    """SIGKILL of ch-run or the supervisor ends all processes in the container, in any session."""
    marker = f"victim-{victim}-{os.getpid()}"
    loop = f": {marker}; while :; do :; done"
    process = start(installed, tree, f"setsid sh -c '{loop}' & sh -c '{loop}' & echo; {loop}")
    supervisor, command = supervisor_and_command(process.pid)
    assert len(alive(marker)) >= 3
    os.kill(supervisor if victim == "supervisor" else process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=DEADLINE)
    wait_until_dead(marker)
    wait_until_gone(supervisor, command)
    if victim == "supervisor":
        assert process.returncode == 31
        assert b"error: the supervisor died, and the container with it" in errors
    else:
        assert process.returncode == -signal.SIGKILL


def wait_until_gone(*processes: int) -> None:
    deadline = time.monotonic() + DEADLINE
    for process in processes:
        while not is_dead(process):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def is_dead(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


# The terminal


class Terminal:
    """An interactive shell on a terminal of its own; ``expect`` reads what it shows."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.fd, inside = os.openpty()
        bash = shutil.which("bash") or "/bin/bash"
        self.shell = subprocess.Popen(
            ["setsid", "--ctty", bash, "--norc", "--noprofile", "--noediting", "-i"],
            env=environment,
            stdin=inside,
            stdout=inside,
            stderr=inside,
        )
        os.close(inside)
        self.process = self.shell.pid
        self.seen = ""

    def expect(self, pattern: str) -> str:
        """Read until ``pattern`` matches; return the text up to the end of the match."""
        deadline = time.monotonic() + DEADLINE
        while not (match := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode(errors="replace").replace("\r", "")
        text, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return text

    def type(self, text: str) -> None:
        """Type a text; the terminal echoes it."""
        os.write(self.fd, text.encode())

    def command(self, line: str, prompt: str) -> str:
        """Type a command; return its output up to the next ``prompt``."""
        self.type(line + "\n")
        self.expect(re.escape(line) + "\n")
        return self.expect(prompt)


@pytest.fixture
def terminal(tmp_path: Path) -> Generator[Terminal]:
    terminal = Terminal(ENVIRONMENT | {"PS1": "outer> ", "TERM": "dumb"})
    terminal.expect("outer> ")
    yield terminal
    terminal.shell.kill()
    terminal.shell.wait()
    os.close(terminal.fd)


@pytest.fixture(params=["", "--notify"])
def how(request: pytest.FixtureRequest, installed: Path, tree: Path) -> str:
    """The words before a command.  The tests have the same results with and without --notify."""
    return f"{installed} {request.param} {tree} --"


def test_interrupt(terminal: Terminal, how: str) -> None:
    terminal.type(f"{how} sh -c 'echo rea\"\"dy; sleep 1234'\n")
    terminal.expect("ready\n")
    terminal.type("\x03")
    terminal.expect("outer> ")
    assert terminal.command("echo $?", "outer> ").startswith("130\n")


def test_an_interrupt_comes_once(terminal: Terminal, how: str) -> None:
    loop = "while [ $n = 0 ]; do sleep 0.05; done; sleep 0.3; echo got $n"
    script = f'n=0; trap "n=\\$((n+1))" INT; echo rea""dy; {loop}'
    terminal.type(f"{how} sh -c '{script}'\n")
    terminal.expect("ready\n")
    terminal.type("\x03")
    terminal.expect("got 1\n")


def test_stop_and_continue(terminal: Terminal, how: str) -> None:
    terminal.type(f"{how} sh -c 'echo rea\"\"dy; read x; echo got $x; exit 7'\n")
    terminal.expect("ready\n")
    for _ in range(2):
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("outer> ")
        terminal.type("fg\n")
        wait_until_running(terminal)
    terminal.type("word\n")
    terminal.expect("got word\n")
    terminal.expect("outer> ")
    assert terminal.command("echo $?", "outer> ").startswith("7\n")


def test_a_background_job_that_reads_stops(terminal: Terminal, how: str) -> None:
    terminal.type(f"{how} sh -c 'read x; echo got $x' &\n")
    terminal.expect("outer> ")
    deadline = time.monotonic() + DEADLINE
    while "Stopped" not in terminal.command("jobs", "outer> "):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.type("fg\n")
    terminal.expect("fg\n.*\n")
    terminal.type("word\n")
    terminal.expect("got word\n")


def test_an_interactive_shell_has_its_own_jobs(terminal: Terminal, how: str) -> None:
    terminal.type(f"{how} env PS1='inner$ ' sh -i\n")
    terminal.expect("inner\\$ ' sh -i\n")
    shown = terminal.expect("inner\\$ ")
    assert "job control turned off" not in shown
    terminal.type("sleep 1234\n")
    terminal.expect("sleep 1234\n")
    wait_for_foreground(terminal, "sleep")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.expect("inner\\$ ")
    assert "sleep 1234" in terminal.command("jobs", "inner\\$ ")
    terminal.type("fg\n")
    wait_for_foreground(terminal, "sleep")
    terminal.type("\x03")
    terminal.expect("inner\\$ ")
    # ^C and ^Z at the inner prompt affect only the inner shell.
    terminal.type("\x03")
    terminal.expect("inner\\$ ")
    terminal.type("\x1a")
    assert "still here" in terminal.command("echo still here", "inner\\$ ")
    terminal.type("exit 9\n")
    terminal.expect("outer> ")
    assert terminal.command("echo $?", "outer> ").startswith("9\n")


def wait_for_foreground(terminal: Terminal, name: str) -> None:
    """Wait until a program ``name`` leads the terminal's foreground process group."""
    deadline = time.monotonic() + DEADLINE
    while True:
        group = os.tcgetpgrp(terminal.fd)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{group}/comm").read_text(errors="replace").strip() == name:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_running(terminal: Terminal) -> None:
    """Wait until a job has the terminal, and none of its processes is stopped."""
    deadline = time.monotonic() + DEADLINE
    while True:
        group = os.tcgetpgrp(terminal.fd)
        done = subprocess.run(
            ["ps", "-e", "-o", "pgid=", "-o", "stat="], capture_output=True, text=True, check=True
        )
        states = [
            state for pgid, state in map(str.split, done.stdout.splitlines()) if int(pgid) == group
        ]
        if group != terminal.process and states and not any(state[0] == "T" for state in states):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_interactive_shell_may_be_suspended(terminal: Terminal, how: str) -> None:
    """The inner shell stops itself, and the outer shell gets the terminal back."""
    terminal.type(f"{how} env PS1='inner$ ' sh -i\n")
    terminal.expect("inner\\$ ' sh -i\n")
    terminal.expect("inner\\$ ")
    terminal.type("kill -STOP $$\n")
    terminal.expect("Stopped")
    terminal.expect("outer> ")
    terminal.type("fg\n")
    terminal.expect("fg\n.*\n")
    # The inner shell has the terminal again.
    terminal.type('echo "<$PS1>"\n')
    terminal.expect("<inner\\$ >\n")
    terminal.type("exit 9\n")
    terminal.expect("outer> ")
    assert terminal.command("echo $?", "outer> ").startswith("9\n")


def test_a_suspended_shell_ends_with_its_terminal(terminal: Terminal, how: str) -> None:
    terminal.type(f"{how} env PS1='inner$ ' sh -i\n")
    terminal.expect("inner\\$ ' sh -i\n")
    terminal.expect("inner\\$ ")
    terminal.type("kill -STOP $$\n")
    terminal.expect("Stopped")
    terminal.expect("outer> ")
    (job,) = children(terminal.process)
    left = [job, *children(job)]
    terminal.shell.kill()
    terminal.shell.wait()
    wait_until_gone(*left)
