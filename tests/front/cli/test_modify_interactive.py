"""``ch-image modify -i``, on a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.runtime.launcher.test_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.conftest import Runner

PROMPT = "/ # "


@pytest.fixture
def modify(run_ch_image: Runner, storage: Path, bb: str) -> Generator[Callable[..., Terminal]]:
    """Return a function that starts ``ch-image modify`` on a terminal; ``bb`` is in storage."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        argv = [*command("ch-image"), "-s", str(storage), "modify", *arguments]
        started.append(Terminal(argv, {"TERM": "vt100"}))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def kept(run_ch_run: Runner, image: str, path: str) -> str:
    return run_ch_run(image, "--", "/bin/cat", path).stdout


@pytest.mark.parametrize("options", [("-i",), ("--interactive",), ()])
def test_changes_are_kept_after_exit_0(
    modify: Callable[..., Terminal],
    run_ch_image: Runner,
    run_ch_run: Runner,
    options: tuple[str, ...],
) -> None:
    terminal = modify(*options, "bb", "new")
    terminal.expect("exit 0 makes the result new; another status drops all changes")
    terminal.expect(PROMPT)
    terminal.write(b"echo kept >/f; id -u; echo $TERM\n")
    terminal.expect("\r\n0\r\nvt100\r\n")
    terminal.expect(PROMPT)
    terminal.write(b"exit\n")
    status, seen = terminal.end()
    assert status == 0
    assert "grown in 2 instructions: new" in seen
    assert kept(run_ch_run, "new", "/f") == "kept\n"
    entries = json.loads(run_ch_image("history", "--format=json", "new").stdout)
    assert entries[-1]["created_by"] == 'RUN.S ["/bin/sh"]'
    assert run_ch_run("bb", "--", "/bin/cat", "/f", check=False).returncode == 1


def test_shell_runs_again_each_time(modify: Callable[..., Terminal], run_ch_run: Runner) -> None:
    for text in ("1", "2"):
        terminal = modify("-i", "bb", "new")
        terminal.expect(PROMPT)
        terminal.write(f"echo {text} >/f; exit\n".encode())
        assert terminal.end()[0] == 0
        assert kept(run_ch_run, "new", "/f") == f"{text}\n"


@pytest.mark.parametrize("end", [b"exit 3\n", b"false\n\x04", b"kill -9 $$\n"])
def test_changes_are_dropped_after_another_status(
    modify: Callable[..., Terminal], run_ch_image: Runner, end: bytes
) -> None:
    terminal = modify("-i", "bb", "new")
    terminal.expect(PROMPT)
    terminal.write(b"echo dropped >/f\n")
    terminal.expect(PROMPT)
    terminal.write(end)
    status, seen = terminal.end()
    assert status == 1
    assert "so its changes are not kept" in seen
    assert "hint: leave the shell by: exit 0" in seen
    assert run_ch_image("list").stdout == "bb\n"


def test_shell_controls_jobs_and_gets_keys(modify: Callable[..., Terminal]) -> None:
    terminal = modify("-i", "-S", "/bin/ash", "bb")
    terminal.expect(PROMPT)
    terminal.write(b"sh -c 'trap \"echo again\" CONT; echo go; while :; do sleep 0.1; done'\n")
    terminal.expect("\r\ngo\r\n")
    terminal.write(b"\x1a")
    terminal.expect("Stopped")
    terminal.write(b"fg\n")
    terminal.expect("again\r\n")
    terminal.write(b"\x03")
    terminal.expect(PROMPT)
    terminal.write(b"stty size; [ -t 0 ] && [ -t 1 ] && echo terminal; exit\n")
    terminal.expect("terminal\r\n")
    assert terminal.end()[0] == 0


def test_window_size_is_passed_on(modify: Callable[..., Terminal]) -> None:
    terminal = modify("-i", "bb")
    terminal.expect(PROMPT)
    for size in ((33, 77), (44, 99)):
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
        # The signal and the keys take different ways.
        wait = b"while [ \"$(stty size)\" != '%d %d' ]; do sleep 0.1; done; echo $((6*7))\n"
        terminal.write(wait % size)
        terminal.expect("\r\n42\r\n")
        terminal.expect(PROMPT)
    terminal.write(b"exit\n")
    assert terminal.end()[0] == 0


def test_terminal_is_as_before(modify: Callable[..., Terminal]) -> None:
    terminal = modify("-i", "bb")
    before = termios.tcgetattr(terminal.master)
    own = os.ptsname(terminal.master) if hasattr(os, "ptsname") else ""
    terminal.expect(PROMPT)
    assert termios.tcgetattr(terminal.master) != before
    terminal.write(b"echo on $(readlink /proc/self/fd/0) or $(readlink /proc/$$/fd/0)\n")
    terminal.expect("\r\non .*\r\n")
    assert not own or own.encode() not in terminal.seen
    terminal.write(b"exit 1\n")
    terminal.expect("hint: leave")
    assert termios.tcgetattr(terminal.master) == before
    assert terminal.end()[0] == 1


def test_sigterm_ends_everything(modify: Callable[..., Terminal], run_ch_image: Runner) -> None:
    terminal = modify("-i", "bb", "new")
    terminal.expect(PROMPT)
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end()[0] == -signal.SIGTERM
    assert run_ch_image("list").stdout == "bb\n"


def test_notify(modify: Callable[..., Terminal], run_ch_run: Runner) -> None:
    terminal = modify("-i", "--force=notify", "bb", "new")
    terminal.expect(PROMPT)
    terminal.write(b"touch /f; chown 7:8 /f; stat -c %u:%g /f; exit\n")
    terminal.expect("\r\n7:8\r\n")
    assert terminal.end()[0] == 0


def test_without_a_terminal(run_ch_image: Runner, bb: str, storage: Path) -> None:
    """Input from a file is typed, and its end is ^D."""
    done = subprocess.run(
        [*command("ch-image"), "-s", str(storage), "modify", "-i", "bb", "new"],
        input=b"echo $((6*7))\n" + b"echo long >>/f\n" * 500,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"\r\n42\r\n" in done.stdout
    lines = run_ch_image("modify", "-c", "wc -l </f", "new").stdout
    assert lines.strip() == "500"


def test_dry_run(modify: Callable[..., Terminal], run_ch_image: Runner) -> None:
    status, seen = modify("-i", "-n", "bb", "new").end()
    assert status == 0
    assert "dry run: nothing was built" in seen
    assert run_ch_image("list").stdout == "bb\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-i", "-c", "true", "bb"), 'incompatible opts: "-c", "-i"'),
        (("-i", "bb", "new", "script"), "script mode incompatible with interactive mode"),
        (("-i", "-S", "/nope", "bb"), "can't execve(2): /nope: No such file or directory"),
    ],
)
def test_mistakes(run_ch_image: Runner, bb: str, arguments: tuple[str, ...], message: str) -> None:
    done = run_ch_image("modify", *arguments, check=False)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
