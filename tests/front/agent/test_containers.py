"""Containers of crun, runc and podman, of a user with one ID, that see what real root would see."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import read_owners
from tests.conftest import run_program, until
from tests.front.agent.conftest import OWNERS, Runtimes
from tests.runtime.notify.test_other_abi import CALLS, SOURCE, compile_static

if TYPE_CHECKING:
    # The runtime's process, and the open FIFO at which the container waits.
    Waiting = tuple[subprocess.Popen[str], int]

    from tests.conftest import RootHelper
    from tests.front.agent.conftest import Agents, RunningAgent

RUNTIMES = ["crun", "runc"]
MADE_TWICE = 20  # of 2000; most are, if the supervisor forgets lost replies
INTERRUPTED = Path(__file__).parent / "programs" / "interrupted.c"

SCRIPT = """
id -u; stat -c '%n %u:%g' /etc/shadow /srv
touch /file; chown ada:ada /file; stat -c '%U:%G' /file
mknod /null c 1 3; stat -c '%F %t:%T' /null
chmod 1777 /tmp; su ada -c 'id -u; mkdir /tmp/mine'; stat -c '%u:%g' /tmp/mine
"""
OUTPUT = """\
0
/etc/shadow 0:42
/srv 7:8
ada:ada
character special file 1:3
12
12:34
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtime(containers: Runtimes, agent: RunningAgent, runtime: str) -> None:
    bundle = containers.bundle("one", agent.socket, "sh", "-c", SCRIPT)
    assert containers.run(runtime, bundle).stdout == OUTPUT
    until(lambda: "one: has ended" in agent.printed, "the supervisor does not end")
    recorded = {
        path.decode(): record.pack().decode()
        for path, record in read_owners(os.fsencode(containers.rootfs) + b"/ch/owners").items()
    }
    assert recorded == {
        **{path.decode(): record.pack().decode() for path, record in OWNERS.items()},
        "file": "f 12 34",
        "null": "c 0 0 dev=1:3",
        "tmp/mine": "d 12 34",
    }


@pytest.mark.parametrize("runtime", [pytest.param("runc", marks=pytest.mark.slow), "crun"])
def test_podman(containers: Runtimes, agent: RunningAgent, runtime: str) -> None:
    profile = (f"--socket={agent.socket}", f"--changes={containers.rootfs}")
    assert containers.podman(runtime, profile, "sh", "-c", SCRIPT).stdout == OUTPUT
    until(lambda: "has ended" in agent.printed, "the supervisor does not end")
    assert b"file" in read_owners(os.fsencode(containers.rootfs) + b"/ch/owners")


def test_podman_on_an_overlay(containers: Runtimes, agent: RunningAgent) -> None:
    """The copy of a changed file keeps the owner, and its own records are the image's."""
    script = f"echo x >>/etc/shadow; chmod 700 /srv; {SCRIPT}"
    profile = (f"--socket={agent.socket}",)
    assert containers.podman("crun", profile, "sh", "-c", script, image=True).stdout == OUTPUT
    assert read_owners(os.fsencode(containers.rootfs) + b"/ch/owners") == OWNERS


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel: this ABI is x86-64's only")
def test_32_bit_calls(containers: Runtimes, agent: RunningAgent) -> None:
    compile_static(SOURCE, containers.rootfs / "bin/direct_call")
    (containers.rootfs / "calls").write_text("".join(f"int80 {call}\n" for _, call, _ in CALLS))
    script = "mkdir /w; : >/w/f; direct_call </calls"
    bundle = containers.bundle("narrow", agent.socket, "sh", "-c", script)
    printed = containers.run("crun", bundle).stdout.splitlines()
    answers = dict(zip((name for name, _, _ in CALLS), map(int, printed), strict=True))
    assert answers == {name: answer for name, _, answer in CALLS}


@pytest.mark.parametrize(
    ("command", "owner"), [("interrupted 2000", "0:8"), ("su ada -c 'interrupted 2000'", "12:34")]
)
def test_calls_that_signals_interrupt(
    containers: Runtimes, agent: RunningAgent, command: str, owner: str
) -> None:
    """runc's filter has no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.

    A call may still be made twice: the kernel can take a reply and then drop it, because the signal
    came first.
    """
    compile_static(INTERRUPTED, containers.rootfs / "bin/interrupted")
    prepare = (
        "mkdir -m 777 /free; cd /free" if command.startswith("su") else "cd /srv; chmod 2775 ."
    )
    script = f"{prepare}; {command}; ls | wc -l; stat -c %u:%g * | sort | uniq -c"
    bundle = containers.bundle("signals", agent.socket, "sh", "-c", script)
    printed = containers.run("runc", bundle).stdout
    failures, interrupted, made = printed.partition("interrupted\n")
    assert interrupted, printed
    assert made == f"2000\n   2000 {owner}\n"
    number, _, count = failures.partition(": ")
    assert number in ("", f"errno {errno.EEXIST}"), printed
    assert int(count or 0) < MADE_TWICE


def test_the_next_container_waits_for_the_records(
    containers: Runtimes, agent: RunningAgent
) -> None:
    change = "read n </count; echo $((n + 1)) >/count; stat -c %u /count; chown $n:0 /count"
    (containers.rootfs / "count").write_text("100\n")
    bundle = containers.bundle("many", agent.socket, "sh", "-c", change)
    found = [int(containers.run("runc", bundle, name=f"n{n}").stdout) for n in range(5)]
    assert found == [0, 100, 101, 102, 103]


def test_a_process_that_is_started_later(containers: Runtimes, agent: RunningAgent) -> None:
    # An ordinary user's `runc exec` can't take the listener: pidfd_getfd(2), EPERM.
    # With its first process, the container ends: it waits for the test at a gate of its own.
    script = "touch /f; chown 3:4 /f; mkfifo /end /gate; read x </gate; stat -c %u:%g /other"
    script += "; read x </end"
    bundle = containers.bundle("long", agent.socket, "sh", "-c", script)
    running = subprocess.Popen(
        containers.argv("crun", "run", f"--bundle={bundle}", "long"), stdout=subprocess.PIPE
    )
    until((containers.rootfs / "gate").exists, "the container does not start")
    other = "stat -c %u:%g /f; touch /other; chown 5:6 /other; echo >/gate"
    enter = ["nsenter", f"--target={running.pid}", "--user", "--mount", "--preserve-credentials"]
    crun = ["crun", "--cgroup-manager=disabled", f"--root={containers.directory}/crun"]
    done = run_program([*enter, *crun, "exec", "long", "sh", "-c", other], check=False)
    assert (done.returncode, done.stdout) == (0, "3:4\n"), done.stderr
    assert running.stdout is not None
    assert running.stdout.readline() == b"5:6\n"
    (containers.rootfs / "end").write_text("\n")
    assert running.communicate(timeout=60)[0] == b""
    assert agent.printed.count("begins") == 1, agent.printed


def test_two_containers_at_once(containers: Runtimes, agent: RunningAgent, tmp_path: Path) -> None:
    script = "touch /f; chown $0 /f; mkfifo /gate; read x </gate; stat -c %u /f"
    running = []
    for user in ("61", "62"):
        there = tmp_path / user
        there.mkdir()
        shutil.copytree(containers.rootfs, there / "root", symlinks=True)
        own = Runtimes(there, there / "root")
        bundle = own.bundle(user, agent.socket, "sh", "-c", script, user)
        argv = own.argv("crun", "run", f"--bundle={bundle}", user)
        running.append((own.rootfs, subprocess.Popen(argv, stdout=subprocess.PIPE), user))
        until((own.rootfs / "gate").exists, "the container does not start")
    assert len(agent.supervisors()) == 2
    for root, process, user in running:
        (root / "gate").write_text("\n")
        output, _ = process.communicate(timeout=60)
        assert output.decode() == f"{user}\n"


def waiting(containers: Runtimes, agent: RunningAgent) -> Waiting:
    """Start a container that waits at its FIFO ``gate``, and then tells who owns a file."""
    script = "touch /f; chown 9 /f; mkfifo /gate; read x </gate; stat -c %u /f; id -u"
    bundle = containers.bundle("waiting", agent.socket, "sh", "-c", script)
    process = subprocess.Popen(
        containers.argv("runc", "run", f"--bundle={bundle}", "waiting"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    gates: list[int] = []

    def reads() -> bool:
        with suppress(OSError):  # ENXIO: nobody has it open
            gates.append(os.open(containers.rootfs / "gate", os.O_WRONLY | os.O_NONBLOCK))
        return bool(gates)

    until(reads, "the container does not read")
    return process, gates[0]


def go_on(waiting: Waiting) -> str:
    """Let a waiting container go on; return its output."""
    process, gate = waiting
    with suppress(BrokenPipeError):
        os.write(gate, b"\n")
    os.close(gate)
    output, _ = process.communicate(timeout=60)
    return output


def test_containers_outlive_the_agent(containers: Runtimes, agents: Agents) -> None:
    agent = agents.start()
    container = waiting(containers, agent)
    agent.process.kill()
    agent.process.wait()
    assert go_on(container) == "9\n0\n"
    assert agents.start().printed == ""  # in the place of the socket that is left


def test_a_container_whose_supervisor_is_killed_gets_no_system_call(
    containers: Runtimes, agent: RunningAgent
) -> None:
    container = waiting(containers, agent)
    (supervisor,) = agent.supervisors()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: "killed by signal 9" in agent.printed, "the agent does not notice")
    assert "Function not implemented" in go_on(container)


def test_a_supervisor_is_closed_to_inspection_and_keeps_no_descriptor(
    containers: Runtimes, agent: RunningAgent, root_helper: RootHelper
) -> None:
    container = waiting(containers, agent)
    (supervisor,) = agent.supervisors()
    with pytest.raises(PermissionError):
        os.listdir(f"/proc/{supervisor}/fd")
    found = root_helper.descriptors(supervisor)
    sockets = [name for name in found.values() if name.startswith("socket:")]
    assert len(sockets) == 1, found  # for further listeners
    assert found["0"] == found["1"] == "/dev/null"
    assert go_on(container) == "9\n0\n"


def test_a_caller_that_ignores_the_end_of_children(containers: Runtimes, agents: Agents) -> None:
    agent = agents.start("--once", within=("env", "--ignore-signal=CHLD"))
    bundle = containers.bundle("first", agent.socket, "stat", "-c", "%u:%g", "/srv")
    assert containers.run("runc", bundle).stdout == "7:8\n"
    assert agent.process.wait(timeout=30) == 0


def test_once(containers: Runtimes, agents: Agents) -> None:
    agent = agents.start("--once")
    bundle = containers.bundle("first", agent.socket, "stat", "-c", "%u:%g", "/srv")
    assert containers.run("runc", bundle).stdout == "7:8\n"
    assert agent.process.wait(timeout=30) == 0
    assert not agent.socket.exists()
