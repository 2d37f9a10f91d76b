"""Containers whose programs wait for a FUSE daemon that does not answer: they end nevertheless."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.process.child import PATIENCE_WITH_INTERRUPTED, PATIENCE_WITH_STUCK
from tests.conftest import children_of, command, run_program, until
from tests.hostile.test_image import WITHOUT_PID_NAMESPACES
from tests.hostile.test_processes import attack, image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("image",)


PROMISED = 2.0  # seconds after the end of a process of Sundog


class Stopwatch:
    """The time since it was made, on a machine that may do other things, too.

    ``look`` takes some processor time.  It gets as little as other processes: where it takes three
    times as long as its processor time, they do, too.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._looked = self._computed = 0.0

    def look(self, condition: Callable[[], object]) -> bool:
        """Return whether a condition is true, after a little while."""
        time.sleep(0.01)
        looked, computed = time.monotonic(), time.thread_time()
        found = condition()
        self._looked += time.monotonic() - looked
        self._computed += time.thread_time() - computed
        return bool(found)

    def seconds(self) -> float:
        """Return the time so far."""
        return time.monotonic() - self._began

    def idle_seconds(self) -> float:
        """Return the time so far as it were on a machine that does nothing else."""
        return self.seconds() * min(1.0, self._computed / self._looked)


class Family:
    """Processes and their descendants, at one time."""

    def __init__(self, *ancestors: int) -> None:
        found = set(ancestors)
        parents = {pid: parent for pid in processes() if (parent := stat_field(pid, 4)) is not None}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        self.starts = {pid: stat_field(pid, 22) for pid in found}

    def ancestor(self, distance: int) -> int:
        """Return the process so far above the eldest attacker."""
        attackers = [pid for pid in self.starts if name_of(pid) == "attacker"]
        (found,) = [pid for pid in attackers if stat_field(pid, 4) not in attackers]
        for _ in range(distance):
            found = stat_field(found, 4) or 0
        assert found in self.starts
        return found

    def alive(self) -> list[int]:
        """Return those with a thread that has not ended."""
        return [
            pid
            for pid, start in self.starts.items()
            if stat_field(pid, 22) == start and any(state not in "ZX" for state in states(pid))
        ]


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat_field(pid: int, number: int) -> int | None:
    """Return a field of proc_pid_stat(5)."""
    with contextlib.suppress(OSError):
        return int(
            Path(f"/proc/{pid}/stat")
            .read_text(errors="replace")
            .rpartition(")")[2]
            .split()[number - 3]
        )
    return None


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return ""


def states(pid: int) -> Iterator[str]:
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            yield path.read_text(errors="replace").rpartition(")")[2].split()[0]


def mounted(mark: str) -> list[int]:
    """Return the processes that see a mount with the source ``mark``."""
    found = []
    for pid in processes():
        with contextlib.suppress(OSError):
            if f" {mark} " in Path(f"/proc/{pid}/mountinfo").read_text(errors="replace"):
                found.append(pid)
    return found


def keeper_of(tag: str) -> int:
    """Return the process that listens on the socket of a group."""
    sockets = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    (inode,) = [line.split()[6] for line in sockets if line.endswith(f"/{tag}")]
    for pid in processes():
        with contextlib.suppress(OSError):
            files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
            if f"socket:[{inode}]" in files:
                return pid
    raise AssertionError("nobody listens")


def ended_by(
    argv: list[str],
    signo: int,
    mark: str,
    env: dict[str, str],
    victim: Callable[[Family], int] | None = None,
) -> tuple[int, float]:
    """Run a program until it prints ``now``, and send a signal to it, or to the ``victim``.

    Returns the program's wait status, and the ``idle_seconds`` until nothing of it was alive.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.strip() == "now":
                break
        else:
            pytest.fail("".join(lines))
        family = Family(process.pid)
        found = process.pid if victim is None else victim(family)
        watch = Stopwatch()
        os.kill(found, signo)
        while watch.look(lambda: process.poll() is None or family.alive() or mounted(mark)):
            if watch.seconds() > 30:
                left = family.alive()
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                pytest.fail(f"still there: {left} of {family.starts}, {process.poll()}")
        seconds = watch.idle_seconds()
        assert "Traceback" not in process.stdout.read()
    return process.returncode, seconds


@dataclass(frozen=True, slots=True)
class Case:
    """A program that is ``how`` silent, and a signal for the process of Sundog that it is below."""

    mode: str
    signo: signal.Signals
    how: str
    has_pids: bool = True

    def __str__(self) -> str:
        return f"{self.mode}{'' if self.has_pids else '-nopids'}-{self.signo.name}-{self.how}"

    def ends(self, argv: list[str], mark: str, env: dict[str, str]) -> None:
        """Run ``argv``; all must end with the process that gets the signal."""
        status, seconds = ended_by(argv, self.signo, mark, env)
        assert status == -self.signo
        # After ^C, a command has some time to handle it.
        patience = PATIENCE_WITH_INTERRUPTED if self.signo == signal.SIGINT else 0
        assert seconds < patience + PROMISED


SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL)


@pytest.fixture
def mark() -> str:
    return f"silent-{secrets.token_hex(8)}"


# RUN

# Under a supervisor, which waits, too, a program could not unmount.
HOWS = {
    "none": ("itself", "daemon", "detached", "inside"),
    "seccomp": ("daemon", "detached", "inside", "itself"),
    "notify": ("itself", "daemon", "inside", "daemon"),
}
RUNS = [
    Case(force, signo, HOWS[force][(at + has_pids) % len(SIGNALS)], has_pids)
    for force in HOWS
    for has_pids in (True, False)
    for at, signo in enumerate(SIGNALS)
]
RUNS += [Case(force, signal.SIGKILL, "proc") for force in ("none", "notify")]
RUNS += [Case("none", signal.SIGKILL, "proc", has_pids=False)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Return a storage directory with the image ``base``."""
    storage = tmp_path_factory.mktemp("ends") / "storage"
    subprocess.run(
        [*command("ch-image"), "import", str(busybox_tar), "base"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        check=True,
    )
    return storage


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_a_run_ends_with_its_builder(
    case: Case, mark: str, base: Path, tmp_path: Path, attacker: Path
) -> None:
    context = attack(tmp_path / "context", attacker, f"silent={case.how}", f"mark={mark}")
    options = ("--no-cache", f"--force={case.mode}", "-t", mark)
    build = [*command("ch-image"), "build", *options, str(context)]
    if not case.has_pids:
        build = [sys.executable, "-c", WITHOUT_PID_NAMESPACES, *build]
    case.ends(build, mark, os.environ | {"CH_IMAGE_STORAGE": str(base)})


@pytest.mark.parametrize("victim", ["init", "guard", "init-nopids", "guard-nopids"])
def test_a_run_ends_with_its_init_and_with_its_guard(
    victim: str, mark: str, base: Path, tmp_path: Path, attacker: Path
) -> None:
    context = attack(tmp_path / "context", attacker, "silent=itself", f"mark={mark}")
    build = [*command("ch-image"), "build", "--force=notify", "-t", mark, str(context)]
    if victim.endswith("nopids"):
        build = [sys.executable, "-c", WITHOUT_PID_NAMESPACES, *build]
    env = os.environ | {"CH_IMAGE_STORAGE": str(base)}
    above = 1 if victim.startswith("init") else 2
    status, seconds = ended_by(
        build, signal.SIGKILL, mark, env, lambda family: family.ancestor(above)
    )
    assert status == 1
    assert seconds < PROMISED


# ch-run, where a process of it stays

MODES = {
    "notify": ("ch-run", "--notify", "-u0"),
    "notify-W": ("ch-run", "--notify", "-W"),
    "notify-join": ("ch-run", "--notify", "--join", "--join-tag=MARK"),
    "fakeroot": ("sundog-fakeroot",),
}
# ch-run passes the signals on, and the program of the kind ``daemon`` ignores them.
STARTS = [
    *(Case("notify", signo, "itself") for signo in SIGNALS),
    *(Case("notify", signal.SIGKILL, how) for how in ("daemon", "inside", "proc")),
    Case("notify", signal.SIGTERM, "proc"),
    *(Case(mode, signal.SIGKILL, "daemon") for mode in ("notify-W", "fakeroot")),
    *(Case(mode, signal.SIGTERM, "itself") for mode in ("notify-W", "fakeroot")),
    *(Case("notify-join", signo, "itself") for signo in (signal.SIGTERM, signal.SIGKILL)),
]


@pytest.mark.parametrize("case", STARTS, ids=str)
def test_a_container_ends_with_its_ch_run(
    case: Case, mark: str, image: Path, attacker: Path
) -> None:
    program, *options = MODES[case.mode]
    argv = [*command(program), *(option.replace("MARK", mark) for option in options)]
    argv += [str(attacker)] if program == "sundog-fakeroot" else [str(image), "--", "/attacker"]
    env = os.environ | {"CH_IMAGE_STORAGE": str(image.parent / "storage")}
    env |= {"SUNDOG_FAST_PATH": "yes"}  # it has a meaning for -W
    case.ends([*argv, f"silent={case.how}", f"mark={mark}"], mark, env)


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("options", [["-u0"], ["--notify"]], ids=["plain", "notify"])
def test_a_group_ends_with_its_keeper(
    options: list[str], signo: int, mark: str, *, image: Path, attacker: Path
) -> None:
    shutil.copy(attacker, image / "attacker")
    argv = [*command("ch-run"), *options, "--join", f"--join-tag={mark}", str(image), "--"]
    argv += ["/attacker", "silent=itself", f"mark={mark}"]
    _, seconds = ended_by(argv, signo, mark, dict(os.environ), lambda _: keeper_of(mark))
    assert seconds < PROMISED


def test_what_a_command_leaves_in_a_group_goes_on(mark: str, image: Path, tmp_path: Path) -> None:
    """The keeper ends with the last member, and ends nothing."""
    script = "(until [ -e /mnt/go ]; do sleep 0.05; done; echo left) & echo now; read end; exit 7"
    options = ["--join", f"--join-tag={mark}", f"--bind={tmp_path}:/mnt"]
    with subprocess.Popen(
        [*command("ch-run"), *options, str(image), "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        family = Family(keeper_of(mark))
        assert len(family.starts) == 2
        process.stdin.close()
        until(lambda: not family.alive(), "the keeper has not ended")
        (tmp_path / "go").touch()
        assert process.stdout.read() == "left\n"
    assert process.returncode == 7


@pytest.mark.parametrize("signo", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("options", [[], ["--userns=keep-id"]], ids=["notify", "plain"])
def test_a_detached_container_ends_with_what_waits_for_it(
    options: list[str], signo: int, mark: str, image: Path, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    own = {"CH_IMAGE_STORAGE": f"{image.parent}/storage", "XDG_RUNTIME_DIR": str(runtime)}

    def sundog(*words: str) -> str:
        return run_program([*command("sundog"), *words], env=own).stdout.strip()

    script = "sleep 1000 & echo now; sleep 1000; true"
    sundog("run", "-d", *options, "--name", mark, str(image), "sh", "-c", script)
    until(lambda: "now" in sundog("logs", mark), "the container does not begin")
    first = int(sundog("inspect", "-f", "{{.State.Pid}}", mark))
    waiter = stat_field(first, 4)
    assert waiter is not None
    family = Family(waiter, keeper_of(f"sundog/{first}/{stat_field(first, 22)}"))
    watch = Stopwatch()
    os.kill(waiter, signo)
    while watch.look(family.alive):
        assert watch.seconds() < 30
    assert watch.idle_seconds() < PROMISED
    sundog("rm", "-f", mark)


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM])
def test_a_copy_that_waits_for_a_container_ends(
    signo: int, mark: str, image: Path, attacker: Path, tmp_path: Path
) -> None:
    """What looks up names there waits in the kernel until the container ends."""
    shutil.copy(attacker, image / "attacker")
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    own = {"CH_IMAGE_STORAGE": f"{image.parent}/storage", "XDG_RUNTIME_DIR": str(runtime)}

    def sundog(*words: str) -> str:
        return run_program([*command("sundog"), *words], env=own).stdout.strip()

    options = ("run", "-d", "--name", mark, str(image))
    sundog(*options, "/attacker", "silent=itself", f"mark={mark}")
    until(lambda: "now" in sundog("logs", mark), "the container does not begin")
    argv = [*command("sundog"), "cp", f"{mark}:/mnt/y", str(tmp_path)]
    with subprocess.Popen(argv, env=os.environ | own, stderr=subprocess.PIPE) as copying:
        until(lambda: any("D" in states(pid) for pid in children_of(copying.pid)), "it goes on")
        family = Family(copying.pid)
        watch = Stopwatch()
        copying.send_signal(signo)
        while watch.look(lambda: copying.poll() is None):
            assert watch.seconds() < 30
    assert watch.idle_seconds() < PATIENCE_WITH_STUCK + PROMISED
    sundog("rm", "-f", mark)
    until(lambda: not family.alive(), "it is still there", 30)


def test_a_plain_container_ends_as_the_page_says(mark: str, image: Path, attacker: Path) -> None:
    """No process of Sundog is there."""
    shutil.copy(attacker, image / "attacker")
    argv = [
        *command("ch-run"),
        "-u0",
        str(image),
        "--",
        "/attacker",
        "silent=itself",
        f"mark={mark}",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        family = Family(process.pid)
        process.kill()
        # Threads that do not wait in the kernel end; until then, they have the mounts, too.
        until(lambda: {*states(process.pid)} <= {"D", "Z"}, "a thread goes on")
        (thread, *_) = [
            path.parent
            for path in Path(f"/proc/{process.pid}/task").glob("*/mountinfo")
            if path.parent.name != str(process.pid)
            and f" {mark} " in path.read_text(errors="replace")
        ]
        namespaces = [f"--user={thread}/ns/user", f"--mount={thread}/ns/mnt"]
        assert family.alive()
        done = subprocess.run(
            ["nsenter", "--preserve-credentials", *namespaces, "umount", "-f", "/mnt"],
            capture_output=True,
            text=True,
            check=False,
        )
        # The kernel answers the reader first, and then looks whether something is in use there.
        assert not done.returncode or "busy" in done.stderr
        until(lambda: not family.alive(), "the container is still there", 30)


# A file system of the user's own, which a container sees

# Mounts a file system in a user namespace, and serves it.  Somebody waits for its answer about a
# name.  Meanwhile it runs a command, which has the device open.  After the command and a line of
# input, it gives the answer.
SERVING = """
import errno, os, select, struct, sys
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.fuse.device import mount_fuse
from sundog.base.kernel.mounts import AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH, move_mount
place, *argv = sys.argv[1:]
enter_namespaces(0, 0)
device, tree = mount_fuse(b"own", 0, 0)
move_mount(tree, b"", AT_FDCWD, os.fsencode(place), MOVE_MOUNT_F_EMPTY_PATH)
LOOKUP, GETATTR, INIT = 1, 3, 26
DIRECTORY = struct.pack("=QII6Q10I", 0, 0, 0, 1, *[0] * 8, 0o40755, 2, *[0] * 5)
GREETING = struct.pack("=4I2H2I2H2I24x", 7, 31, 4096, 0, 0, 0, 4096, 0, 0, 0, 0, 0)
ANSWERS = {GETATTR: (0, DIRECTORY), INIT: (0, GREETING), LOOKUP: (-errno.ENOENT, b"")}
def answer(kind, unique):
    error, data = ANSWERS.get(kind, (-errno.ENOSYS, b""))
    os.write(device, struct.pack("=IiQ", 16 + len(data), error, unique) + data)
asked, asking = os.pipe()
let, letting = os.pipe()
if os.fork() == 0:
    os.close(letting)
    waiting = []
    while True:
        if let in select.select([device, let], [], [])[0]:
            for unique in waiting:
                answer(LOOKUP, unique)
            os._exit(0)
        _, kind, unique = struct.unpack_from("=IIQ", os.read(device, 1 << 17))
        if kind == LOOKUP:
            waiting.append(unique)
            os.write(asking, b".")
        else:
            answer(kind, unique)
if os.fork() == 0:
    os.close(letting)
    os.close(device)
    try:
        os.stat(os.path.join(place, "name"))
    except OSError as error:
        print("found", errno.errorcode[error.errno], flush=True)
    os._exit(0)
os.read(asked, 1)
os.set_inheritable(device, True)
command = os.fork()
if command == 0:
    os.execv(argv[0], argv)
print("command", command, flush=True)
os.close(device)
os.waitpid(command, 0)
sys.stdin.readline()
os.close(letting)
os.wait()
os.wait()
"""


def test_a_file_system_of_the_host_goes_on(
    mark: str, image: Path, attacker: Path, tmp_path: Path
) -> None:
    """A program of the container has its device open, and can't die: all ways are tried."""
    place = tmp_path / "place"
    place.mkdir()
    start = [*command("ch-run"), "--notify", "-u0", "-b", f"{place}:/own", str(image), "--"]
    start += ["/attacker", "silent=inside", f"mark={mark}"]
    with subprocess.Popen(
        [sys.executable, "-c", SERVING, str(place), *start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines: list[str] = []
        while "now" not in lines:
            lines.append(process.stdout.readline().strip())
            assert lines[-1], lines
        (started,) = [int(line.split()[1]) for line in lines if line.startswith("command")]
        family = Family(started)
        os.kill(started, signal.SIGKILL)
        until(lambda: not family.alive(), "the container is still there", 30)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "found ENOENT\n"
