"""Requests that an agent takes, their senders, and its socket."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sundog.errors import RuntimeConfigError
from sundog.front.agent.reception import ENDS_LIMIT, Reception
from tests.conftest import command, run_program, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RootHelper
    from tests.front.agent.conftest import Agents, RunningAgent, Runtimes

STATE = {
    "ociVersion": "1.0.2",
    "fds": ["seccompFd"],
    "pid": 1,
    "metadata": "",
    "state": {"ociVersion": "1.0.2", "id": "x", "status": "creating", "pid": 1, "bundle": "/"},
}

GARBAGE = {
    "no JSON": (b"{]}", 0, "not JSON"),
    "deep": (b"[" * 100_000 + b"{}", 0, "nested too deeply"),
    "no object": (b"[{}", 0, "not JSON"),
    "another object": (b"{}", 0, "fds: no seccompFd"),
    "no state": (json.dumps({"fds": ["seccompFd"]}).encode(), 1, "state: expected an object"),
    "no process": (
        json.dumps({**STATE, "state": {"id": "x", "pid": -1}}).encode(),
        1,
        "pid: -1 is not a size",
    ),
    "large process": (
        json.dumps({**STATE, "state": {"id": "x", "pid": 1 << 40}}).encode(),
        1,
        "is not a process ID",
    ),
    "no descriptor": (json.dumps(STATE).encode(), 0, "no descriptor for seccompFd"),
    "another descriptor": (json.dumps(STATE).encode(), 1, "is no listener"),
    "many descriptors": (json.dumps(STATE).encode(), 40, "is no listener"),
    "metadata": (
        json.dumps({**STATE, "metadata": '{"owners": "relative"}'}).encode(),
        1,
        "owners: not an absolute path: relative",
    ),
    "unknown metadata": (
        json.dumps({**STATE, "metadata": '{"\\u001b[2J": 1}'}).encode(),
        1,
        "unknown field \\x1b[2J",
    ),
    "endless": (b" " * (3 << 20), 0, "too long"),
}


def send(path: Path, data: bytes, descriptors: int) -> None:
    """Send ``data`` and so many descriptors as a runtime does; the agent may refuse the rest."""
    with socket.socket(socket.AF_UNIX) as connection, open(os.devnull, "rb") as null:
        connection.connect(str(path))
        try:
            if descriptors:
                socket.send_fds(connection, [data], [null.fileno()] * descriptors)
            else:
                connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass


def test_garbage_hurts_nobody(containers: Runtimes, agent: RunningAgent) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(agent.socket))
        silent.send(b"{")
        for name, (data, descriptors, complaint) in GARBAGE.items():
            printed = len(agent.printed)
            send(agent.socket, data, descriptors)
            until(lambda: agent.printed[printed:].endswith("\n"), name)  # noqa: B023 - runs at once
            assert complaint in agent.printed[printed:], name
        bundle = containers.bundle("one", agent.socket, "stat", "-c", "%u:%g", "/srv")
        assert containers.run("runc", bundle).stdout == "7:8\n"
    assert agent.process.poll() is None
    assert len(os.listdir(f"/proc/{agent.process.pid}/task")) == 1


CONNECT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
    print(connection.recv(1))
except OSError as error:
    print(error.strerror)
"""


def test_a_container_without_a_supervisor_leaves_nothing(
    containers: Runtimes, agent: RunningAgent, root_helper: RootHelper
) -> None:
    before = root_helper.descriptors(agent.process.pid)
    many = resource.prlimit(agent.process.pid, resource.RLIMIT_NPROC)
    resource.prlimit(agent.process.pid, resource.RLIMIT_NPROC, (1, many[1]))
    bundle = containers.bundle("one", agent.socket, "stat", "-c", "%u:%g", "/srv")
    assert containers.run("runc", bundle, check=False).returncode != 0
    until(lambda: "\nhint: " in agent.printed, "the agent says nothing")
    refusal = "can't start another process: Resource temporarily unavailable"
    assert f"error: container one: {refusal}\n" in agent.printed
    assert root_helper.descriptors(agent.process.pid) == before
    resource.prlimit(agent.process.pid, resource.RLIMIT_NPROC, many)
    assert containers.run("runc", bundle, name="two").stdout == "7:8\n"


def test_another_user(agent: RunningAgent, root_helper: RootHelper) -> None:
    argv = ["/usr/bin/python3", "-c", CONNECT, str(agent.socket)]
    assert root_helper.as_second_user(argv).stdout == b"Permission denied\n"
    closed = [agent.socket.parent, agent.socket.parent.parent]
    for path in (agent.socket, *closed):
        path.chmod(0o777)
    try:
        assert root_helper.as_second_user(argv).stdout == b"b''\n"
    finally:
        for path in closed:
            path.chmod(0o700)
    assert "wants to be served: refused" in agent.printed


# A root directory of the image's, or the host's for reading; the socket is beside the program.
CONTAINERS = {
    "an image": "",
    "the host, for reading": 'mount --rbind / "$1"; mount -o remount,bind,ro "$1";',
}
IN_CONTAINER = """
import os, socket, sys
os.chroot(sys.argv[2])
"""


@pytest.mark.parametrize("mounts", CONTAINERS.values(), ids=CONTAINERS)
def test_a_program_in_a_container(agent: RunningAgent, tmp_path: Path, mounts: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    script = mounts + 'cd "$2"; exec /usr/bin/python3 -c "$3" "$4" "$1"'
    words = [str(root), str(agent.socket.parent), IN_CONTAINER + CONNECT, agent.socket.name]
    completed = run_program(["unshare", "-rm", "sh", "-ec", script, "sh", *words])
    assert completed.stdout == "b''\n"
    assert "a process in a container" in agent.printed
    assert "wants to be served: refused" in agent.printed


def test_the_socket_of_a_dead_agent_is_replaced(agents: Agents) -> None:
    first = agents.start()
    first.process.kill()
    first.process.wait()
    assert first.socket.exists()
    second = agents.start()
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(timeout=30) == -signal.SIGTERM
    assert not second.socket.exists()


def refusal(*words: str, env: dict[str, str] | None = None) -> str:
    """Return the messages of a command that fails."""
    done = run_program([*command("sundog"), "agent", *words], check=False, env=env)
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_places_that_are_taken_or_impossible(agent: RunningAgent, tmp_path: Path) -> None:
    assert "another agent listens at" in refusal(f"--socket={agent.socket}")
    file = tmp_path / "f"  # the path of a socket is short
    file.write_text("x")
    assert "is no socket" in refusal(f"--socket={file}")
    assert file.read_text() == "x"
    assert "at most 107 bytes" in refusal(f"--socket=/{'x' * 200}")
    assert "No such file" in refusal("--socket=/none/agent.sock")
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / "file").touch()
    env = {"XDG_RUNTIME_DIR": "", "CH_IMAGE_STORAGE": str(storage)}
    assert "not a Sundog storage directory" in refusal(env=env)
    assert agent.process.poll() is None


def test_the_command_line(tmp_path: Path) -> None:
    assert "--owners is for --profile" in refusal("--owners=x")
    assert "no such file" in refusal("--profile", "--owners=/none")
    assert "no profile for the architecture sparc" in refusal("--profile", "--arch=sparc")
    assert "unexpected argument: x" in refusal("x")
    assert "exclude each other" in refusal("--profile", f"--bundle={tmp_path}")
    assert "no such file" in refusal("--bundle", str(tmp_path))
    (tmp_path / "config.json").write_text('{"root": {"path": 5}}')
    assert "path: expected a string" in refusal("--bundle", str(tmp_path))
    assert (tmp_path / "config.json").read_text() == '{"root": {"path": 5}}'


def test_records_that_can_not_be_read(containers: Runtimes, agent: RunningAgent) -> None:
    fifo = containers.directory / "fifo"
    os.mkfifo(fifo)
    for place, complaint in ((fifo, "not a regular file"), ("/etc/passwd", "damaged records")):
        name = f"of-{os.path.basename(place)}"
        bundle = containers.bundle(name, agent.socket, "true", options=(f"--owners={place}",))
        done = containers.run("runc", bundle, check=False)
        assert done.returncode != 0
        until(lambda: complaint in agent.printed, complaint)  # noqa: B023 - runs at once


def test_a_message_in_too_many_pieces() -> None:
    ours, theirs = socket.socketpair()
    reception = Reception(ours)
    for _ in range(ENDS_LIMIT):
        theirs.send(b"}")
        assert not reception.read()
    theirs.send(b"}")
    with pytest.raises(RuntimeConfigError, match="too many pieces"):
        reception.read()
    reception.close()
    theirs.close()
