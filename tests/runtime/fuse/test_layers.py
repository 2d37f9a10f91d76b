"""The server of layers that are files: what it holds, what ends it, and whom it serves."""

import os
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import RootHelper, copy_storage, runner
from tests.packed import make_packed
from tests.runtime.fuse.conftest import Containers, servers

WAIT = 30_000  # milliseconds, for a process to end
SLEEP = ("sh", "-c", "echo ready; read line; cat /etc/new /copied | cat >/dev/null")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    return make_packed(tmp_path_factory.mktemp("layers"), busybox_tar)


@pytest.fixture
def packed(containers: Containers, made: Path) -> Containers:
    """Return what starts containers from a copy of the storage directory."""
    shutil.rmtree(containers.place / "storage", ignore_errors=True)
    copy_storage(made, containers.place / "storage")
    return containers


@pytest.fixture
def before() -> set[int]:
    return set(servers())


def own_server(before: set[int]) -> int:
    """Return the one server that this test started."""
    (found,) = set(servers()) - before
    return found


def ends(pidfd: int) -> bool:
    """Wait until the process has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(WAIT))


@pytest.mark.parametrize("options", [[], ["-W"], ["--notify"]])
def test_it_ends_with_the_command(packed: Containers, before: set[int], options: list[str]) -> None:
    process = packed.begin(*options, "mixed", "--", *SLEEP)
    server = own_server(before)
    assert os.getpgid(server) != os.getpgid(process.pid)
    pidfd = os.pidfd_open(server)
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert ends(pidfd)
    os.close(pidfd)


def test_programs_get_an_error_when_it_is_killed(packed: Containers, before: set[int]) -> None:
    # The shell itself is not from the image: it would die of SIGBUS.
    bind = ("-b", "/usr/bin:/mnt/0")
    script = "echo ready; read line; : </etc/never-seen"
    process = packed.begin(*bind, "mixed", "--", "/mnt/0/busybox", "sh", "-c", script)
    pidfd = os.pidfd_open(own_server(before))
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert ends(pidfd)
    os.close(pidfd)
    output, _ = process.communicate(b"\n", timeout=60)
    assert b"/etc/never-seen: Transport endpoint is not connected" in output


def test_a_deleted_image_runs_on(packed: Containers) -> None:
    process = packed.begin("mixed", "--", "sh", "-c", "echo ready; read x; cat /etc/new /bin/ls")
    runner("ch-image", packed.place / "storage")("delete", "mixed", "bb")
    output, _ = process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert output.startswith(b"new\n")


def test_a_layer_file_that_can_not_be_opened_any_more(packed: Containers) -> None:
    """It is as one that another host has removed from NFS: no file of the image is missing."""
    process = packed.begin("bb", "--", "sh", "-c", "echo ready; read x; cat /etc/motd")
    for file in packed.place.glob("storage/layers/*/file"):
        file.chmod(0)
    output, _ = process.communicate(b"\n", timeout=60)
    assert process.returncode == 1
    assert b"Input/output error" in output


def test_what_it_holds(packed: Containers, before: set[int], root_helper: RootHelper) -> None:
    with open(packed.place / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        process = subprocess.Popen(
            [packed.command, "mixed", "--", *SLEEP],
            env=packed.environment | {"PASSWORD": "hidden"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    server = own_server(before)
    assert not Path(f"/proc/{server}/cmdline").read_bytes().strip(b"\0")
    with pytest.raises(PermissionError):  # it is not dumpable
        os.listdir(f"/proc/{server}/fd")
    found = root_helper.descriptors(server)
    process.communicate(b"\n", timeout=60)
    names = sorted(os.path.basename(path) for path in found.values())
    # Of the three layers of the image, two are files.
    assert names == sorted(["null"] * 3 + ["layers", "fuse"] + ["file", "index"] * 2)
