"""The server's process: what ends it, what it holds, and what a program sees when it dies."""

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import RootHelper
from tests.runtime.fuse.conftest import Containers, servers

WAIT = 30_000  # milliseconds, for a process to end


@pytest.fixture
def before() -> set[int]:
    return set(servers())


def own_server(before: set[int]) -> int:
    """Return a pidfd's process: the one server that this test started."""
    found = set(servers()) - before
    assert len(found) == 1, found
    return found.pop()


def ends(pidfd: int) -> bool:
    """Wait until the process has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(WAIT))


SLEEP = ("sh", "-c", "echo ready; read line; cat /etc/os-release /bin/busybox | cat >/dev/null")


def test_it_ends_with_the_command(containers: Containers, squashfs: Path, before: set[int]) -> None:
    process = containers.begin(squashfs, "--", *SLEEP)
    pidfd = os.pidfd_open(own_server(before))
    process.communicate(b"\n")
    assert process.returncode == 0
    assert ends(pidfd)
    os.close(pidfd)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_a_killed_command(
    containers: Containers, squashfs: Path, before: set[int], number: int
) -> None:
    process = containers.begin(squashfs, "--", *SLEEP)
    pidfd = os.pidfd_open(own_server(before))
    process.send_signal(number)
    process.communicate()
    assert process.returncode == -number
    assert ends(pidfd)
    os.close(pidfd)


def test_signals_of_the_terminal_and_the_batch_system_do_not_end_it(
    containers: Containers, squashfs: Path, before: set[int]
) -> None:
    process = containers.begin(
        squashfs, "--", "sh", "-c", "trap '' INT HUP TERM; echo ready; read line; cat /etc/passwd"
    )
    server = own_server(before)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.killpg(process.pid, number)
        os.kill(server, number)
    output, _ = process.communicate(b"\n")
    assert process.returncode == 0
    assert b"root:x:0" in output


def test_a_process_that_outlives_the_command_still_reads(
    containers: Containers, squashfs: Path, before: set[int]
) -> None:
    script = "exec 3<&0; (read line <&3; wc -c </bin/busybox; ls /bin | wc -l) & echo ready"
    process = containers.begin(squashfs, "--", "sh", "-c", script)
    assert process.wait() == 0  # the command is gone
    pidfd = os.pidfd_open(own_server(before))
    output, _ = process.communicate(b"\n")
    size, _count = output.split()
    assert int(size) == os.path.getsize("/usr/bin/busybox")
    assert ends(pidfd)
    os.close(pidfd)


def test_programs_get_an_error_when_it_is_killed(
    containers: Containers, squashfs: Path, image: Path, before: set[int]
) -> None:
    # The shell itself is not from the image: it would die of SIGBUS.
    script = "echo ready; read line; /mnt/busybox ls /etc; : </etc/never-seen"
    bind = ("-b", f"{image / 'bin'}:/mnt")
    process = containers.begin(*bind, squashfs, "--", "/mnt/busybox", "sh", "-c", script)
    server = own_server(before)
    pidfd = os.pidfd_open(server)
    os.kill(server, signal.SIGKILL)
    assert ends(pidfd)
    os.close(pidfd)
    output, _ = process.communicate(b"\n", timeout=60)
    assert b"/etc/never-seen: Transport endpoint is not connected" in output


def test_the_callers_pipes_close_with_the_command(containers: Containers, squashfs: Path) -> None:
    # A grandchild without the caller's descriptors keeps the server alive.
    script = f"x=$({containers.command} {squashfs} -- sh -c "
    script += "'sleep 1000 </dev/null >/dev/null 2>&1 & echo $!'); echo $x; kill $x"
    done = subprocess.run(
        ["sh", "-c", script],
        env=containers.environment,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip().isdigit()


def test_the_command_inherits_no_child(containers: Containers, squashfs: Path) -> None:
    script = 'read line </proc/$$/task/$$/children; echo "[$line]"'
    assert containers.output(squashfs, "--", "sh", "-c", script) == "[]\n"


def test_what_it_holds(
    containers: Containers, squashfs: Path, before: set[int], root_helper: RootHelper
) -> None:
    with open(containers.place / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        process = subprocess.Popen(
            [containers.command, squashfs, "--", *SLEEP],
            env=containers.environment | {"PASSWORD": "hidden"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    server = own_server(before)
    line = Path(f"/proc/{server}/cmdline").read_bytes()
    assert not line.strip(b"\0")
    status = Path(f"/proc/{server}/status").read_text()
    with pytest.raises(PermissionError):  # it is not dumpable
        os.listdir(f"/proc/{server}/fd")
    with pytest.raises(PermissionError):
        Path(f"/proc/{server}/environ").read_bytes()
    found = root_helper.descriptors(server)
    process.communicate(b"\n")
    assert "Threads:\t1\n" in status
    # The device is in the container's copy of the host's mounts.
    names = sorted(os.path.basename(path) for path in found.values())
    assert names == sorted(["null"] * 3 + [squashfs.name, "fuse"])
