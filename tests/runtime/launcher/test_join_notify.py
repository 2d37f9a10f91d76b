"""``ch-run --join --notify``: one supervisor for the commands of a group."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sundog.base.record.owners import read_owners
from tests.conftest import children_of, state_of, until
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.test_join import Node, Peer, end, has_ended, node, pid_of
from tests.runtime.launcher.test_notify_signals import alive, wait_until_dead

__all__ = ["node"]

LOOK = "stat -c %u:%g /file"
SUPERVISOR = "ch-run-notify\n"


def supervisor(node: Node) -> int:
    """Return a pidfd of the group's only supervisor: it sees the mounts of this test's image."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text(errors="replace") == SUPERVISOR:
                mounts = (process / "mountinfo").read_text(errors="replace")
                found += [int(process.name)] if str(node.place) in mounts else []
        except (FileNotFoundError, ProcessLookupError, OSError):
            continue
    (process_id,) = found
    return os.pidfd_open(process_id)


def make_file(node: Node) -> None:
    (node.place / "image" / "file").write_text("")


def say(peer: Peer, text: bytes = b"\n") -> bytes:
    """Let the script of a peer go on; return the next line of its output."""
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdin.write(text)
    peer.stdin.flush()
    return peer.stdout.readline()


def test_what_one_records_the_others_see(node: Node) -> None:
    make_file(node)
    script = f"chown 5:6 /file; id -u; read line; {LOOK}; read line; {LOOK}"
    first, user = node.member("python", "--notify", "-W", script=script)
    assert user == b"0\n"
    assert node.join("compiled", LOOK, "--notify") == b"5:6\n"
    assert node.join("python", f"chown 7:8 /file; {LOOK}", "--notify") == b"7:8\n"
    assert say(first) == b"7:8\n"
    script = "id -u; chown 9 /file 2>/dev/null || id -g"
    assert node.join("python", script, "--notify", "-u44", "-g55") == b"44\n55\n"
    assert say(first) == b"7:8\n"
    end(first)


def test_the_first_decides_about_strict(node: Node) -> None:
    make_file(node)
    look = "cat /file >/dev/null 2>&1; echo $?"
    for level, status in (("--notify=strict", b"1\n"), ("--notify", b"0\n")):
        script = "chmod 600 /file; chown 5:6 /file; echo"
        first, _ = node.member("python", level, "-W", script=script)
        assert node.join("python", look, "--notify", "-u44", "-g55") == status
        assert node.join("python", look, "--notify", "-u5", "-g55") == b"0\n"
        keeper = node.keeper()
        end(first)
        has_ended(keeper)


def test_the_end_of_the_first_ends_no_other(node: Node) -> None:
    make_file(node)
    first, _ = node.member("python", "--notify", "-W", script="chown 5:6 /file; echo")
    second, _ = node.member("python", "--notify", script=f"echo; read line; chown 7 /file; {LOOK}")
    keeper, pidfd = node.keeper(), supervisor(node)
    end(first)
    assert say(second) == b"7:6\n"
    assert node.join("python", LOOK, "--notify") == b"7:6\n"
    end(second)
    has_ended(keeper)
    has_ended(pidfd)
    assert node.join("python", LOOK, "--notify") == b"0:0\n"  # a new group


def test_the_last_writes_the_records(node: Node) -> None:
    make_file(node)
    first, _ = node.member("python", "--notify", "-w", script="chown 5:6 /file; echo")
    second, _ = node.member("python", "--notify", "-v", script="echo; chown 7:8 /bin")
    end(first)
    _, messages = second.communicate(b"\n", timeout=60)
    assert second.returncode == 0
    assert b" notifications, " in messages  # those of both, by the last one
    owners = read_owners(bytes(node.place / "image" / "ch" / "owners"))
    found = {path: (owner.uid, owner.gid) for path, owner in owners.items()}
    assert found == {b"file": (5, 6), b"bin": (7, 8)}


LOOP = "while :; do sleep 1; done"


@pytest.mark.parametrize("victim", ["first", "second"])
def test_a_killed_ch_run_ends_its_own_command(node: Node, victim: str) -> None:
    make_file(node)
    markers = {name: f"{name}-{node.tag}" for name in ("first", "second")}
    peers = {}
    for name, marker in markers.items():
        # The process in a session of its own runs as another user, and changed identity twice.
        script = f"setsid sh -c ': {marker}; {LOOP}' >&- 2>&- & echo; read line; {LOOK}"
        peers[name], _ = node.member("python", "--notify", "-u33", script=script)
    pidfd = supervisor(node)
    (other,) = {*peers} - {victim}
    peers[victim].kill()
    peers[victim].communicate()
    wait_until_dead(markers[victim])
    assert len(alive(markers[other])) >= 1
    assert say(peers[other]) == b"0:0\n"
    end(peers[other])
    assert alive(markers[other]) == []
    has_ended(pidfd)


def test_what_a_command_leaves_ends_with_it_alone(node: Node) -> None:
    first, _ = node.member("python", "--notify", script=f"sh -c ': a-{node.tag}; {LOOP}' & echo")
    script = f"setsid sh -c ': b-{node.tag}; {LOOP}' >&- 2>&- & exit 3"
    words = [f"--join-tag={node.tag}", "--notify", "image", "--", "sh", "-c", script]
    assert node.run("python", *words) == (3, b"", "")
    assert alive(f"b-{node.tag}") == []
    assert alive(f"a-{node.tag}") != []
    end(first)


def test_a_killed_supervisor_ends_all(node: Node) -> None:
    script = f"setsid sh -c ': {node.tag}; {LOOP}' & echo"
    peers = [node.member("python", "--notify", script=script)[0] for _ in range(2)]
    keeper, pidfd = node.keeper(), supervisor(node)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    for peer in peers:
        _, messages = peer.communicate(timeout=60)
        assert peer.returncode == 31
        assert b"error: the supervisor died, and the container with it" in messages
    wait_until_dead(node.tag)
    has_ended(keeper)
    has_ended(pidfd)


def test_a_signal_reaches_the_command_of_one_peer(node: Node) -> None:
    script = "trap 'echo got; exit 5' USR1; echo; while :; do sleep 0.05; done"
    first, _ = node.member("python", "--notify", script=script)
    second, _ = node.member("python", "--notify", script=script)
    second.send_signal(signal.SIGUSR1)
    assert second.communicate(timeout=60)[0] == b"got\n"
    assert second.returncode == 5
    assert first.poll() is None
    first.send_signal(signal.SIGUSR1)
    assert first.communicate(timeout=60)[0] == b"got\n"


def test_all_at_once(node: Node) -> None:
    """One of them starts the supervisor; those that come when it has ended begin a new group."""
    make_file(node)
    script = f"chown 5:6 /file; {LOOK}"
    words = [f"--join-tag={node.tag}", "--notify", "-W", "image", "--", "sh", "-c", script]
    peers = [node.start("python", *words) for _ in range(12)]
    ended = [(*peer.communicate(timeout=60), peer.returncode) for peer in peers]
    assert ended == [(b"5:6\n", b"", 0)] * 12


def waits(process: int) -> int:
    """Return how often a process has waited."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_a_slow_end_kills_no_process_of_a_new_peer(node: Node) -> None:
    """Its ``ch-run`` looks for what its command has left until it knows the supervisor's report."""
    first, _ = node.member("python", "--notify", script="echo")
    slow, _ = node.member("python", "--notify", script="echo")
    names = {Path(f"/proc/{child}/comm").read_text(): child for child in children_of(slow.pid)}
    assert names.pop("sh\n")  # its command
    (waiting,) = names.values()
    os.kill(waiting, signal.SIGSTOP)
    assert say(slow) == b""  # its command has ended
    assert node.join("python", "echo", "--notify") == b"\n"  # the supervisor knows that by now
    new, _ = node.member("python", "--notify", script="echo")
    before = waits(slow.pid)
    until(lambda: waits(slow.pid) > before + 8)  # it has looked meanwhile
    os.kill(waiting, signal.SIGCONT)
    end(slow, new, first)


def test_a_slow_ender_kills_no_process_of_a_new_peer(node: Node) -> None:
    script = "echo; read line; mount -t tmpfs none /mnt; echo"
    first, _ = node.member("python", "--notify", script=script)
    pidfd = supervisor(node)
    process = pid_of(pidfd)
    assert say(first) == b"\n"
    before = children_of(process)
    slow, _ = node.member("python", "--notify", script="echo")
    (ender,) = {*children_of(process)} - {*before}
    os.kill(ender, signal.SIGSTOP)
    ended = os.pidfd_open(ender)
    end(slow)
    new, _ = node.member("python", "--notify", script="echo")
    os.kill(ender, signal.SIGCONT)
    has_ended(ended)
    end(new)
    assert node.join("python", "echo", "--notify") == b"\n"
    assert ender not in children_of(process)  # nor a zombie
    end(first)
    has_ended(pidfd)


def stopped(log: Path, number: int) -> list[int]:
    """Return the processes that strace has seen stop, as soon as there are so many."""
    found: dict[int, None] = {}

    def is_enough() -> bool:
        lines = log.read_text().splitlines() if log.exists() else []
        found.update({int(line.split()[0]): None for line in lines if "stopped by SIGSTOP" in line})
        return len(found) >= number

    until(is_enough)
    return list(found)


@pytest.mark.parametrize("has_filter", [False, True], ids=["alone", "known"])
def test_a_command_that_dies_before_it_starts(node: Node, has_filter: bool) -> None:
    """A ^C or the kernel may kill it; ``has_filter``: the supervisor gets a call of it too late."""
    first, _ = node.member("python", "--notify", script="echo")
    pidfd = supervisor(node)
    log = node.place / "log"
    stop = ["-f", "-e", "trace=seccomp", "-e", "inject=seccomp:signal=SIGSTOP:when=1"]
    words = [f"--join-tag={node.tag}", "--notify", "image", "--", "true"]
    tracer = subprocess.Popen(
        ["strace", "-o", log, *stop, node.compiled.stub, *words], env=ENVIRONMENT, cwd=node.place
    )
    (trial,) = stopped(log, 1)  # the process that tries whether there can be a supervisor
    os.kill(trial, signal.SIGCONT)
    _, command, ch_run = stopped(log, 3)  # the last one because its command has stopped
    if has_filter:
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        os.kill(command, signal.SIGCONT)
        until(lambda: state_of(command) == "S")  # its first call waits for the supervisor
    os.kill(command, signal.SIGKILL)
    os.kill(ch_run, signal.SIGCONT)
    if has_filter:
        until(lambda: command not in children_of(ch_run))
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)
    assert tracer.wait(timeout=60) == -signal.SIGKILL  # as the command
    end(first)
    has_ended(pidfd)


def test_each_reports_its_own_failure(node: Node) -> None:
    """The first one fails after others may have enlisted; then another one is the first."""
    words = [f"--join-tag={node.tag}", "--notify", "-c/nowhere", "image", "--", "true"]
    peers = [node.start("python", *words) for _ in range(4)]
    for peer in peers:
        _, messages = peer.communicate(timeout=60)
        assert peer.returncode == 31
        assert messages.count(b"/nowhere: No such file or directory") == 1


@pytest.mark.parametrize(("options", "has"), [(["--notify"], "has"), ([], "has no")])
@pytest.mark.parametrize("kind", ["python", "compiled"])
def test_half_of_a_group(node: Node, kind: str, options: list[str], has: str) -> None:
    first, _ = node.member("python", *options)
    other = [] if options else ["--notify"]
    words = [f"--join-tag={node.tag}", *other, "image", "--", "true"]
    status, output, messages = node.run(kind, *words)
    assert (status, output) == (31, b"")
    error, hint = messages.splitlines()
    assert error == f"error: join: the group {node.tag} {has} supervisor of --notify"
    assert "--join-tag" in hint
    end(first)


def test_a_program_gets_nothing_of_the_supervisor(node: Node) -> None:
    """It is root in the container, and holds the three standard descriptors and that of ls."""
    count = "ls /proc/self/fd | busybox wc -l"
    first, fds = node.member("python", "--notify", script=count)
    assert fds == b"4\n"
    pidfd = supervisor(node)
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    process = next(line.split()[1] for line in info.splitlines() if line.startswith("Pid:"))
    script = f"{count}; for p in {process} {first.pid}; do for f in root/etc fd/0 exe cwd/etc; do "
    script += "ls -L /proc/$p/$f >/dev/null 2>&1 && echo $p $f; done; cat /proc/$p/mem; done; :"
    words = [f"--join-tag={node.tag}", "--notify", "image", "--", "sh", "-c", script]
    status, output, messages = node.run("python", *words)
    assert (status, output) == (0, b"4\n")
    assert messages.count("Permission denied") == 2
    keeper = node.keeper()
    end(first)
    has_ended(keeper)
    until(lambda: not alive(f"join-tag={node.tag}"))
