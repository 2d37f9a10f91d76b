"""^C at any moment: no stack trace, nothing half-made, and death by SIGINT, which ends loops."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.pull.conftest import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.registry.servers import InProcessRegistry

# The moments of each command at which ^C comes; `make interruptions` uses more.
FEW = 4
TRIES = int(os.environ.get("SUNDOG_TRIES", FEW))
_SECONDS = 60
_AT_TERMINAL = b"\x03"  # the byte that ^C sends


@pytest.fixture
def place(tmp_path: Path, bb: str, run_ch_image: Runner, in_process: InProcessRegistry) -> Path:
    """Return a directory of inputs; the image bb is in storage and in the registry."""
    run_ch_image("push", "bb", f"{in_process.host}/a")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM bb\nRUN echo under way; sleep 98766\n")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


# `make interruptions` has these, too.
STAGES_LINE = "ch-image build --no-cache --jobs=4 -t y {place}/stages"
DEARER = [(STAGES_LINE, "packages/sundog")] if TRIES > FEW else []
STAGES = """\
FROM bb AS a
RUN echo a >/a
FROM bb AS b
RUN echo b >/b
FROM bb AS c
COPY Dockerfile /c
FROM bb
COPY --from=a /a /a
COPY --from=b /b /b
COPY --from=c /c /c
"""


# The first milliseconds


def moments(place: Path, argv: list[str], call: str, ours: str) -> Iterator[int]:
    """Yield the numbers of some calls ``call`` since Python opened Sundog's first file."""
    lines = traced(place, argv, f"trace=openat,{call}")
    opened = next(number for number, line in enumerate(lines) if ours in line and "openat" in line)
    before = sum(line.startswith(f"{call}(") for line in lines[:opened])
    count = sum(line.startswith(f"{call}(") for line in lines)
    yield from range(before + 1, count, max(1, (count - before) // TRIES))


def traced(place: Path, argv: list[str], *expressions: str) -> list[str]:
    """Run a command under strace; return the lines of the trace, and what the command said."""
    options = [part for expression in expressions for part in ("-e", expression)]
    done = subprocess.run(
        ["strace", "-qq", "-o", place / "trace", *options, *argv],
        env=os.environ | {"CH_IMAGE_STORAGE": str(place / "storage")},
        capture_output=True,
        text=True,
        check=False,
    )
    status = f"status {done.returncode}"
    return [*(place / "trace").read_text().splitlines(), status, done.stderr]


def left_in_tmp(storage: Path, run_ch_image: Runner) -> list[str]:
    """Return what is left in ``tmp/`` after the next command.

    A command that a signal ends deletes for a second, which is not long on a busy machine.  The
    next command deletes the rest.
    """

    def found() -> list[str]:
        return [name for name in leftovers(storage) if name.startswith("tmp/")]

    if found():
        run_ch_image("list")
    return found()


@pytest.mark.timeout(1800)  # 200 moments of a build
@pytest.mark.matrix
@pytest.mark.parametrize("call", ["openat", pytest.param("read", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("ch-image list", "packages/sundog"),
        ("ch-image build -t x {place}/none", "packages/sundog"),
        ("ch-image --no-such-option", "packages/sundog"),
        ("ch-image import {place}/none y", "packages/sundog"),
        ("ch-image build --no-cache -t y {place}/run", "packages/sundog"),
        ("ch-image build -h", "packages/sundog"),
        ("ch-convert bb {place}/bb.tar", "packages/sundog"),
        ("ch-convert -h", "packages/sundog"),
        ("ch-convert --no-such-option", "packages/sundog"),
        ("ch-checkns -h", "packages/sundog"),
        ("ch-fromhost --no-such-option", "packages/sundog"),
        ("ch-test -h", "packages/sundog"),
        ("ch-run bb -- /bin/true", "/ch_run."),
        ("ch-run -h", "/ch_run."),
        ("ch-run --no-such-option", "/ch_run."),
        *DEARER,
    ],
)
def test_from_the_first_of_our_files_on(
    *,
    words: str,
    ours: str,
    call: str,
    place: Path,
    storage: Path,
    run_ch_image: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sundog can't guard the time before Python opens its first file."""
    monkeypatch.setenv("SUNDOG_START", "python")
    (place / "none").mkdir()
    (place / "none/Dockerfile").write_text("FROM bb\nENV a=b\n")
    (place / "run").mkdir()
    (place / "run/Dockerfile").write_text("FROM bb\nRUN echo >/a\nCOPY Dockerfile /b\n")
    (place / "stages").mkdir()
    (place / "stages/Dockerfile").write_text(STAGES)
    name, *rest = words.format(place=place).split()
    argv = [*command(name), *rest]
    struck = 0
    for number in moments(place, argv, call, ours):
        *trace, status, said = traced(
            place, argv, f"trace={call}", f"inject={call}:signal=SIGINT:when={number}"
        )
        assert "Traceback" not in said
        assert "Exception" not in said
        if any(line.startswith("--- SIGINT") for line in trace):
            assert status == f"status {-signal.SIGINT}", said
            assert left_in_tmp(storage, run_ch_image) == [], (number, said)
            struck += 1
    assert struck >= (1 if words.startswith("ch-run -") else 3)


# A shell's loop, at a terminal


def loop(place: Path, line: str, *options: str) -> tuple[int, int]:
    """Let bash run a command in a loop at a terminal; return bash's process and the terminal."""
    name, *words = line.split()
    words = [f"'{word}'" if ">" not in word else word for word in [*command(name), *words]]
    script = f"for i in 1 2 3; do echo turn $i; {' '.join(words)}; done; echo after the loop"
    pid, terminal = pty.fork()
    if not pid:
        environment = os.environ | {"CH_IMAGE_STORAGE": str(place / "storage"), "TERM": "xterm"}
        os.execvpe("bash", ["bash", "--norc", *options, "-c", script], environment)
    return pid, terminal


def shown(terminal: int, until: bytes = b"") -> bytes:
    """Return a terminal's output up to a text, or until all of its writers have ended."""
    found = b""
    deadline = time.monotonic() + _SECONDS
    while not until or until not in found:
        assert time.monotonic() < deadline, found
        if select.select([terminal], [], [], 1)[0]:
            try:
                found += os.read(terminal, 65536)
            except OSError:  # EIO: all writers have ended
                assert not until, found
                break
    return found


@pytest.mark.matrix
@pytest.mark.parametrize("options", [[], ["-i"]], ids=["script", "interactive"])
@pytest.mark.parametrize(
    ("line", "under_way"),
    [
        ("ch-image pull {host}/a x", b""),
        ("ch-image push bb {host}/b", b""),
        ("ch-image build -t x {place}/context", b"\nunder way"),
        ("ch-image import {place}/fifo x", b""),
        ("ch-image load {place}/fifo x", b""),
        ("ch-image save bb >{place}/fifo", b""),
    ],
)
def test_a_loop_ends(
    *,
    line: str,
    under_way: bytes,
    options: list[str],
    place: Path,
    storage: Path,
    in_process: InProcessRegistry,
    run_ch_image: Runner,
) -> None:
    asked, answering = threading.Event(), threading.Event()

    def wait(request: str) -> None:
        if "/blobs/" in request:
            asked.set()
            answering.wait(_SECONDS)

    in_process.before = wait
    fifo = -1
    pid, terminal = loop(place, line.format(place=place, host=in_process.host), *options)
    try:
        said = b""
        if "{host}" in line:
            assert asked.wait(_SECONDS)
        elif under_way:
            said = shown(terminal, under_way)
        elif ">" in line:
            fifo = os.open(place / "fifo", os.O_RDONLY)
            os.read(fifo, 1)  # only one byte: the writer then waits for room
        else:
            fifo = os.open(place / "fifo", os.O_WRONLY)  # returns once the command reads
        os.write(terminal, _AT_TERMINAL)
        said += shown(terminal)
    finally:
        answering.set()
        if fifo >= 0:
            os.close(fifo)
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert b"turn 2" not in said
    assert b"after the loop" not in said
    assert b"Traceback" not in said
    assert options or os.waitstatus_to_exitcode(status) == -signal.SIGINT, said
    assert said.rfind(b"\033[?25l") <= said.rfind(b"\033[?25h")  # the cursor is visible again
    assert left_in_tmp(storage, run_ch_image) == [], said
    assert run_ch_image("list").stdout == "bb\n"


# Several signals, and none


def test_only_the_first_breaks_off(place: Path, storage: Path, run_ch_image: Runner) -> None:
    """The command cleans up although signals arrive until it is dead."""
    for first in (signal.SIGINT, signal.SIGTERM):
        build = subprocess.Popen(
            [*command("ch-image"), "build", "-t", "x", place / "context"],
            env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert build.stdout is not None
        while build.stdout.readline() != "under way\n":
            pass
        build.send_signal(first)
        while build.poll() is None:
            build.send_signal(signal.SIGINT)
            build.send_signal(signal.SIGTERM)
        said = build.stdout.read()
        build.stdout.close()
        # When two signals are pending, Python handles the smaller number first.
        words = {-signal.SIGINT: "interrupted (SIGINT)", -signal.SIGTERM: "terminated (SIGTERM)"}
        assert said == f"error: {words[build.returncode]}\n"
        assert left_in_tmp(storage, run_ch_image) == []
        assert run_ch_image("list").stdout == "bb\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_ignored_stays_ignored(
    number: int, place: Path, storage: Path, in_process: InProcessRegistry, run_ch_image: Runner
) -> None:
    """A script's & ignores SIGINT, and a batch system may do so too."""

    def interrupt(request: str) -> None:
        if "/blobs/" in request:
            os.kill(pull.pid, number)

    in_process.before = interrupt
    ignoring = ["sh", "-c", f"trap '' {number:d}; exec \"$@\"", "sh"]
    pull = subprocess.Popen(
        [*ignoring, *command("ch-image"), "pull", f"{in_process.host}/a", "x"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
    )
    assert pull.wait(_SECONDS) == 0
    assert run_ch_image("list").stdout == "bb\nx\n"


def within(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in whose context signals interrupt."""
    return subprocess.run(
        [sys.executable, "-c", _PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


_PRELUDE = """
import os, signal, time
from sundog.runtime.process import interruption
from sundog.runtime.process.interruption import INTERRUPTIONS, Interruption, die_of
signal.signal(signal.SIGINT, signal.SIG_DFL)
me = os.getpid()
interruption.HURRY = 1
context = Interruption(lambda: print("gave up", flush=True))
"""


def test_cleaning_up_that_does_not_end_ends_after_a_second_signal() -> None:
    done = within(
        """
        with context:
            try:
                os.kill(me, signal.SIGINT)
            finally:
                os.kill(me, signal.SIGTERM)
                while True:
                    time.sleep(1000)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "gave up\n", "")


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    """Python can't raise there: it prints a stack trace and goes on."""
    done = within(
        """
        class Last:
            def __del__(self):
                os.kill(me, signal.SIGTERM)
                for _ in range(100):
                    pass

        try:
            with context:
                last = Last()
                del last
                time.sleep(1000)
        except INTERRUPTIONS:
            print(context.text, flush=True)
        die_of(context.number)
        """
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert done.stdout == "terminated (SIGTERM)\n"


def test_what_the_signal_left_half_made_does_not_complain() -> None:
    """The answers of http.client complain so: the destructor needs the last attribute."""
    done = within(
        """
        class HalfMade:
            def __init__(self):
                os.kill(me, signal.SIGINT)
                for _ in range(100):
                    pass
                self.file = None

            def __del__(self):
                self.file

        try:
            with context:
                HalfMade()
        except INTERRUPTIONS as error:
            error.__traceback__ = None
            print(context.text, flush=True)
        die_of(context.number)
        """
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout == "interrupted (SIGINT)\n"


def test_a_child_does_not_clean_up_for_its_parent() -> None:
    done = within(
        """
        try:
            with context:
                child = os.fork()
                if not child:
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(1000)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), context.number)
        finally:
            print("cleaned up")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "-2 0\ncleaned up\n", "")
