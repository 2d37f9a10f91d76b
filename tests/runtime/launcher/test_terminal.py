"""A RUN and the user's terminal: ^C, ^Z and fg reach the command; the terminal shows its output.

The build runs on a real terminal, as the leader of the session or below an interactive shell.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.conftest import Runner

INTERRUPT, SUSPEND = b"\x03", b"\x1a"
SECONDS = 60
# If a signal comes just before a shell starts a program, the shell runs the trap only after that
# program.  So each program is short.
FOR_EVER = "while :; do sleep 0.1; done"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(argv[0], argv, os.environ | env)
            finally:
                os._exit(127)

    def write(self, text: bytes) -> None:
        """Type a text."""
        os.write(self.master, text)

    def read(self) -> bool:
        """Read new output; return False after all processes have closed the terminal."""
        ready, _, _ = select.select([self.master], [], [], SECONDS)
        assert ready, f"nothing more than {self.seen!r}"
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def expect(self, text: str) -> None:
        """Read until the pattern ``text`` matches; drop the output up to the end of the match."""
        while not (found := re.search(text.encode(), self.seen)):
            assert self.read(), f"no {text} in {self.seen!r}"
        self.seen = self.seen[found.end() :]

    def end(self) -> tuple[int, str]:
        """Read to the end; return the status (negative: a signal) and the remaining output."""
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.master)
        self.pid = 0
        return os.waitstatus_to_exitcode(status), self.seen.decode()

    def close(self) -> None:
        """Kill the program if the test has not called ``end``."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.end()


@pytest.fixture
def build(
    run_ch_image: Runner, storage: Path, tmp_path: Path, busybox_tar: Path
) -> Callable[[str], list[str]]:
    """Return a function that makes the command line of a build with one RUN."""
    run_ch_image("import", busybox_tar, "base")

    def argv(script: str) -> list[str]:
        context = tmp_path / "context"
        context.mkdir()
        (context / "script").write_text(f"{script}\n")
        (context / "Dockerfile").write_text(
            "FROM base\nRUN --mount=type=bind,target=/c sh /c/script\n"
        )
        name, *more = command("ch-image")
        return [name, *more, "-s", str(storage), "build", "-t", "img", str(context)]

    return argv


@pytest.fixture
def on_terminal() -> Generator[Callable[..., Terminal]]:
    """Return a function that starts a program on a terminal."""
    started: list[Terminal] = []

    def start(argv: list[str], **env: str) -> Terminal:
        started.append(Terminal(argv, env))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def marker() -> str:
    """Return a number of seconds that no other test passes to sleep(1)."""
    return f"{10_000 + os.getpid()}.{time.monotonic_ns() % 10**6}"


def sleepers(marker: str) -> list[int]:
    """Return the processes of sleep(1) with the argument ``marker``."""
    found = subprocess.run(
        ["pgrep", "-fx", f"sleep {re.escape(marker)}"], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def await_state(processes: list[int], states: str) -> None:
    """Wait until all ``processes`` are in one of the ``states`` of proc_pid_stat(5)."""
    deadline = time.monotonic() + SECONDS
    for process in processes:
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in states:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def await_taken(pid: int, signo: int) -> None:
    """Wait until the signal ``signo`` is no longer pending for a process."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        pending = re.search(r"^ShdPnd:\s*(\w+)", status, re.M)
        if not pending or not int(pending[1], 16) >> signo - 1 & 1:
            return


def test_an_interrupt_runs_the_traps(
    build: Callable[[str], list[str]], on_terminal: Callable[..., Terminal], marker: str
) -> None:
    script = f"trap 'echo trapped; exit 3' INT; sleep {marker} & echo ready; {FOR_EVER}"
    terminal = on_terminal(build(script))
    terminal.expect("\nready")
    terminal.write(INTERRUPT)
    terminal.expect("trapped")
    status, rest = terminal.end()
    assert status != 0
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert sleepers(marker) == []


@pytest.mark.slow
def test_a_run_that_ignores_an_interrupt_is_killed(
    build: Callable[[str], list[str]], on_terminal: Callable[..., Terminal], marker: str
) -> None:
    terminal = on_terminal(build(f"trap '' INT; sleep {marker} & echo ready; sleep {marker}"))
    terminal.expect("\nready")
    terminal.write(INTERRUPT)
    status, rest = terminal.end()
    assert status != 0
    assert "interrupted" in rest
    assert sleepers(marker) == []


def test_a_second_interrupt_ends_at_once(
    build: Callable[[str], list[str]],
    on_terminal: Callable[..., Terminal],
    marker: str,
) -> None:
    """The trap never returns.  Its output shows that the first signal arrived."""
    script = f"trap 'echo trapped; {FOR_EVER}' INT; sleep {marker} & echo ready; {FOR_EVER}"
    terminal = on_terminal(build(script))
    terminal.expect("\nready")
    terminal.write(INTERRUPT)
    terminal.expect("trapped")
    await_taken(terminal.pid, signal.SIGINT)
    terminal.write(INTERRUPT)
    status, rest = terminal.end()
    assert status != 0
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert sleepers(marker) == []


SHELLS = ("bash --norc --noprofile -i", "dash -i")


@pytest.mark.parametrize("shell", SHELLS)
def test_stop_and_go_on_in_a_shell(
    shell: str,
    build: Callable[[str], list[str]],
    on_terminal: Callable[..., Terminal],
    marker: str,
) -> None:
    argv = build(f"trap 'echo went on' CONT; sleep {marker} & echo ready; wait; wait; wait")
    assert shutil.which(shell.partition(" ")[0])
    terminal = on_terminal(shell.split(), PS1="prompt> ", HISTFILE="")
    terminal.expect("prompt> ")
    terminal.write(f"{' '.join(argv)}\n".encode())
    terminal.expect("\nready")
    while not (sleeper := sleepers(marker)):
        pass  # the shell will execute sleep(1) soon
    for _ in range(2):
        terminal.write(SUSPEND)
        terminal.expect("Stopped")
        terminal.expect("prompt> ")
        await_state(sleeper, "T")
        terminal.write(b"fg\n")
        terminal.expect("\nwent on")
        await_state(sleeper, "S")
    terminal.write(INTERRUPT)
    terminal.expect("interrupted")
    terminal.expect("prompt> ")
    terminal.write(b"exit\n")
    terminal.end()
    assert sleepers(marker) == []


def test_both_streams_arrive_in_order(
    build: Callable[[str], list[str]], on_terminal: Callable[..., Terminal]
) -> None:
    script = "for i in $(seq 300); do echo out$i; echo err$i >&2; done; tty; test ! -t 1"
    terminal = on_terminal(build(script))
    status, text = terminal.end()
    assert status == 0
    expected = [f"{stream}{at}" for at in range(1, 301) for stream in ("out", "err")]
    assert re.findall(r"^((?:out|err)\d+)\r$", text, re.M) == expected
    assert "not a tty" in text


def test_streams_arrive_apart(build: Callable[[str], list[str]], tmp_path: Path) -> None:
    argv = build("for i in $(seq 300); do echo out$i; echo err$i >&2; done")
    with (tmp_path / "1").open("wb") as one, (tmp_path / "2").open("wb") as two:
        subprocess.run(argv, stdout=one, stderr=two, check=True)
    for name, stream in (("1", "out"), ("2", "err")):
        text = (tmp_path / name).read_text()
        assert re.findall(r"^(?:out|err)\d+$", text, re.M) == [
            f"{stream}{at}" for at in range(1, 301)
        ]


def test_a_reader_that_goes_away(build: Callable[[str], list[str]], marker: str) -> None:
    argv = build(f"sleep {marker} & yes")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(SECONDS) != 0
    assert "Traceback" not in errors
    assert sleepers(marker) == []


def test_a_hundred_megabytes_arrive(build: Callable[[str], list[str]]) -> None:
    argv = build("head -c 100000000 /dev/zero")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        count = 0
        while data := process.stdout.read(1 << 20):
            count += data.count(0)
    assert process.returncode == 0
    assert count == 100_000_000


def test_what_stays_in_the_background_holds_nothing_up(
    build: Callable[[str], list[str]], marker: str
) -> None:
    argv = build(f"sleep {marker} & setsid sleep {marker} & echo done")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS)
    assert "done\n" in done.stdout
    assert sleepers(marker) == []


def test_a_full_disk_gives_one_error(
    build: Callable[[str], list[str]], small_tmpfs: Callable[..., Path], marker: str
) -> None:
    argv = build(f"sleep {marker} & yes")
    output = small_tmpfs(64) / "output"
    with output.open("wb") as file:
        done = subprocess.run(argv, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "/dev/stdout" in errors[0]
    assert "no space left on" in errors[0].lower()
    assert "Traceback" not in done.stderr
    assert sleepers(marker) == []
