"""``ch-run --join``: processes share one container, and a keeper ends with the last of them."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sundog.base.record.own_storage import FORMAT
from sundog.runtime.container.variables import Environment
from tests.conftest import RootHelper, children_of, until
from tests.runtime.launcher.compiled import Argument, Compiled, leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.storages import make_storage

Peer = subprocess.Popen[bytes]
KINDS = ("python", "compiled")
NAMESPACES = "readlink /proc/self/ns/user; readlink /proc/self/ns/mnt"


class Node:
    """A computer node: starts peers of one group, and ends them at the end of the test."""

    def __init__(self, compiled: Compiled, place: Path) -> None:
        self.command = compiled.command
        self.tag = f"{place.name}-{os.getpid()}"  # other test runs have the same user
        self.place = place
        self.peers: list[Peer] = []
        self.storage = make_storage(place / "storage")
        leave_accounts(self.storage, os.geteuid(), os.getegid())
        self.compiled = compiled

    def start(self, kind: str, *words: Argument, **env: str) -> Peer:
        """Start one ``ch-run``; "compiled" may hand over to Python."""
        peer = subprocess.Popen(
            [self.command, *words],
            env=ENVIRONMENT
            | {"CH_IMAGE_STORAGE": str(self.storage), "SUNDOG_START": kind.replace("compiled", "")}
            | env,
            cwd=self.place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.peers.append(peer)
        return peer

    def member(self, kind: str, *words: Argument, script: str = NAMESPACES) -> tuple[Peer, bytes]:
        """Start a peer that runs ``script``, and then waits; return it and the first line."""
        words = (f"--join-tag={self.tag}", *words)
        peer = self.start(kind, *words, "image", "--", "sh", "-c", f"{script}; read line")
        assert peer.stdout is not None
        line = peer.stdout.readline()
        assert line, peer.communicate()
        return peer, line

    def run(self, kind: str, *words: Argument, **env: str) -> tuple[int, bytes, str]:
        """Run one ``ch-run``; return its status, output and messages without the prefix."""
        peer = self.start(kind, *words, **env)
        output, messages = peer.communicate(timeout=60)
        lines = [line.partition("]: ")[2] or line for line in messages.decode().splitlines()]
        return peer.returncode, output, "\n".join(lines)

    def join(self, kind: str, script: str = NAMESPACES, *words: Argument) -> bytes:
        """Run ``script`` as a peer, which must succeed; return its output."""
        words = (f"--join-tag={self.tag}", *words, "image", "--", "sh", "-c", script)
        status, output, messages = self.run(kind, *words)
        assert (status, messages) == (0, "")
        return output

    def address(self, tag: str | None = None) -> bytes:
        """Return the address of the group's socket."""
        users, processes = (os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("user", "pid"))
        name = f"\0sundog-join/{os.geteuid()}/{users}/{processes}//{tag or self.tag}"
        return name.encode()

    def keeper(self) -> int:
        """Return a pidfd of the keeper.  A process that asks it is a member until it ends."""
        script = "import socket\n"
        script += "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        script += f"s.connect({self.address()!r})\n"
        script += "data = s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)\n"
        script += "print(memoryview(data).cast('i')[0])\n"
        python = ["/usr/bin/python3", "-I", "-S", "-c", script]
        return os.pidfd_open(int(subprocess.run(python, capture_output=True, check=True).stdout))


@pytest.fixture
def node(compiled: Compiled, image: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node(compiled, tmp_path)
    yield node
    for peer in node.peers:
        peer.kill()
        peer.communicate()


def end(*peers: Peer) -> None:
    """Let members end."""
    for peer in peers:
        assert peer.communicate(b"\n", timeout=60)[1] == b""
        assert peer.returncode == 0


def has_ended(pidfd: int) -> None:
    """Wait until a process has ended."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(60_000)
    os.close(pidfd)


def pid_of(pidfd: int) -> int:
    """Return the process ID of a pidfd."""
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return next(int(line.split()[1]) for line in info.splitlines() if line.startswith("Pid:"))


@pytest.mark.parametrize("options", [[], ["-u0", "-g0"], ["-W", "--no-passwd"], ["-t"]])
@pytest.mark.parametrize("kind", KINDS)
def test_peers_share_a_container(node: Node, kind: str, options: list[str]) -> None:
    first, users = node.member(kind, *options)
    keeper = node.keeper()
    node.compiled.handed_over()
    output = node.join(kind, f"{NAMESPACES}; id -u; pwd", "--seccomp", "-c/mnt")
    assert node.compiled.handed_over() == (kind == "python")  # the compiled start joins alone
    assert first.stdout is not None
    mounts = first.stdout.readline()
    assert mounts != os.readlink(b"/proc/self/ns/mnt") + b"\n"
    uid = 0 if "-u0" in options else os.geteuid()
    assert output == users + mounts + b"%d\n/mnt\n" % uid
    end(first)
    has_ended(keeper)


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_peer_joins_after_the_end_of_the_first(node: Node, kind: str) -> None:
    first, users = node.member(kind)
    second, also = node.member(kind)
    keeper = node.keeper()
    first.kill()
    first.wait()
    third, too = node.member(kind)
    assert users == also == too
    end(second, third)
    has_ended(keeper)
    assert node.join(kind) != b""  # a new group


@pytest.mark.parametrize("kind", KINDS)
def test_all_write_to_one_overlay(node: Node, kind: str) -> None:
    first, _ = node.member(kind, "-W")
    node.join(kind, "echo text >/new")
    assert node.join(kind, "cat /new") == b"text\n"
    end(first)
    assert not (node.place / "image" / "new").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_caller_of_the_first_sees_its_end(node: Node, kind: str) -> None:
    """The keeper lives on with the second member, but has no pipe of the first one's caller."""
    first, _ = node.member(kind)
    second, _ = node.member(kind)
    assert first.communicate(b"\n", timeout=60)[1] == b""  # waits for the end of its streams
    end(second)


def test_the_command_has_no_child(node: Node) -> None:
    """A program may wait for all its children: the keeper is none of them."""
    first, _ = node.member("python")
    pidfd = node.keeper()
    status = Path(f"/proc/{pid_of(pidfd)}/status").read_text()
    assert f"\nPPid:\t{first.pid}\n" not in status
    assert "\nPPid:\t" in status
    end(first)
    has_ended(pidfd)


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_has_its_own_command_and_environment(node: Node, kind: str) -> None:
    first, _ = node.member(kind, "--set-env=A=first")
    script = "echo $A $B $HOME; ls /proc/self/fd | busybox wc -l"
    output = node.join(kind, script, "--set-env=B=peer", "--unset-env=L*")
    assert output == b"peer /\n4\n"
    end(first)


def test_each_reports_its_own_failure(node: Node) -> None:
    """The first one fails, the others wait for it, and then each of them is the first."""
    words = [f"--join-tag={node.tag}", "nowhere", "--", "true"]
    peers = [node.start(kind, *words) for kind in KINDS * 3]
    for peer in peers:
        _, messages = peer.communicate(timeout=60)
        assert peer.returncode == 31
        assert messages.count(b"error: image not found: nowhere") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_first_keeps_nobody_waiting(node: Node, kind: str) -> None:
    """It is stopped while it makes the container, and then killed."""
    log = node.place / "log"
    stop = ["-e", "inject=pivot_root:signal=SIGSTOP"]
    words = [f"--join-tag={node.tag}", "image", "--", "true"]
    tracer = subprocess.Popen(
        ["strace", "-o", log, "-e", "signal=none", *stop, node.compiled.stub, *words],
        env=ENVIRONMENT,
        cwd=node.place,
    )
    until(lambda: log.exists() and "pivot_root" in log.read_text())
    peer = node.start(kind, *words)
    keeper = node.keeper()
    (first,) = children_of(tracer.pid)
    os.kill(first, signal.SIGKILL)
    tracer.wait()
    output, messages = peer.communicate(timeout=60)
    assert (peer.returncode, output, messages) == (0, b"", b"")
    has_ended(keeper)


def test_64_peers_at_once(node: Node) -> None:
    words = [f"--join-tag={node.tag}", "image", "--", "sh", "-c", f"{NAMESPACES}; read line"]
    peers = [node.start("compiled", *words) for _ in range(64)]
    found = set()
    for peer in peers:
        assert peer.stdout is not None
        found.add((peer.stdout.readline(), peer.stdout.readline()))
    assert len(found) == 1
    keeper = node.keeper()
    end(*peers)
    has_ended(keeper)


def test_a_peer_mounts_nothing(node: Node) -> None:
    first, _ = node.member("compiled")
    log = node.place / "log"
    for start in (node.command, node.compiled.stub):
        words = [f"--join-tag={node.tag}", "image", "--", "true"]
        calls = "trace=mount,move_mount,open_tree,fsopen,unshare,setns"
        subprocess.run(
            ["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", log, start, *words],
            env=ENVIRONMENT,
            cwd=node.place,
            check=True,
        )
        text = log.read_text()
        assert text.count("setns(") == len(text.splitlines()) >= 2
    end(first)


@pytest.mark.parametrize("kind", KINDS)
def test_another_image(node: Node, kind: str) -> None:
    first, users = node.member(kind)
    status, output, messages = node.run(
        kind, f"--join-tag={node.tag}", "other", "--", "sh", "-c", NAMESPACES
    )
    assert (status, output.splitlines()[0] + b"\n") == (0, users)
    assert messages.startswith("warning: join: the group runs image, not other;")
    end(first)


def test_an_images_own_command(node: Node) -> None:
    """Without COMMAND, the peer runs the command of the image that it names."""
    first, _ = node.member("python")
    status, _, messages = node.run("compiled", f"--join-tag={node.tag}", "image")
    assert status == 31
    assert "error: IMAGE and/or COMMAND not specified" in messages
    end(first)


# The process whose container is joined


@pytest.mark.parametrize("kind", KINDS)
def test_join_pid(node: Node, kind: str) -> None:
    alone = node.start(kind, "image", "--", "sh", "-c", f"{NAMESPACES}; read line")
    assert alone.stdout is not None
    users = alone.stdout.readline()
    words = [f"--join-pid={alone.pid}", "image", "--", "readlink", "/proc/self/ns/user"]
    assert node.run(kind, *words) == (0, users, "")
    end(alone)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--join-pid=99999999"], "join: no PID 99999999: /proc/99999999/ns/user not found"),
        (["--join-pid=1"], "join: can't open /proc/1/ns/user: Permission denied"),
        (["--join-pid=SELF"], "join: process SELF is in no container"),
        (["--join-pid=x"], "--join-pid: no digits found"),
        (["--join-ct=0"], "join: no valid peer group size found"),
        (["--join-ct=-2"], "join: no valid peer group size found"),
        (["--join-ct=2x"], "--join-ct: extra characters after digits"),
        (["--join-tag="], "join: peer group tag cannot be empty string"),
        (["--join-tag=" + "x" * 200], "join: peer group tag is too long: " + "x" * 200),
        (["--join-pid=SELF", "--notify"], "--join-pid incompatible with --notify"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options(node: Node, kind: str, words: list[str], complaint: str) -> None:
    me = str(os.getpid())
    words = [word.replace("SELF", me) for word in words]
    status, output, messages = node.run(kind, *words, "image", "--", "true")
    assert (status, output) == (31, b"")
    assert messages.splitlines()[0].replace(me, "SELF") == f"error: {complaint}"


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        ([], {}, ["peer group tag from getppid(2)", "1 0 SELF 0"]),
        (
            ["--join-ct=2", "--join-tag=x y"],
            {"SLURM_STEP_ID": "7", "SLURM_CPUS_ON_NODE": "x"},
            [
                "peer group size from command line",
                "peer group tag from command line",
                "1 2 x y 0",
            ],
        ),
        (
            [],
            {"SLURM_STEP_ID": "7", "SLURM_CPUS_ON_NODE": "36(x2)", "SLURM_JOB_ID": "1"},
            [
                "peer group size from SLURM_CPUS_ON_NODE",
                "peer group tag from SLURM_STEP_ID",
                "1 36 7 0",
            ],
        ),
        (
            [],
            {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "SLURM_STEP_TASKS_PER_NODE": "5"},
            [
                "peer group size from OMPI_COMM_WORLD_LOCAL_SIZE",
                "peer group tag from getppid(2)",
                "1 4 SELF 0",
            ],
        ),
        (
            [],
            {"FLUX_JOB_ID": "fTwo", "FLUX_JOB_SIZE": "4", "FLUX_JOB_NNODES": "1"},
            [
                "peer group size from FLUX_JOB_SIZE",
                "peer group tag from FLUX_JOB_ID",
                "1 4 fTwo 0",
            ],
        ),
        (
            [],
            {"FLUX_JOB_ID": "fTwo", "FLUX_JOB_SIZE": "4", "FLUX_JOB_NNODES": "2"},
            ["peer group tag from FLUX_JOB_ID", "1 0 fTwo 0"],
        ),
        (
            [],
            {"PBS_JOBID": "7.server", "PBS_TASKNUM": "1", "NCPUS": "x"},
            ["peer group tag from getppid(2)", "1 0 SELF 0"],
        ),
        (
            [],
            {"PBS_JOBID": "7.server", "MPI_LOCALNRANKS": "2"},
            [
                "peer group size from MPI_LOCALNRANKS",
                "peer group tag from getppid(2)",
                "1 2 SELF 0",
            ],
        ),
    ],
)
def test_messages(
    node: Node, words: list[str], variables: dict[str, str], expected: list[str]
) -> None:
    for kind in KINDS:
        status, _, messages = node.run(
            kind, "--join", "-v", *words, "image", "--", "true", **variables
        )
        assert status == 0
        found = [
            line.removeprefix("join: ").replace(f" {os.getpid()} ", " SELF ")
            for line in messages.splitlines()
            if line.startswith("join: ")
        ]
        assert found == [*expected, "I won", "done"]
        tag = expected[-1].split(" ", 2)[2].rpartition(" ")[0].replace("SELF", str(os.getpid()))
        until(lambda tag=tag: not is_taken(tag))  # type: ignore[misc]


def is_taken(tag: str) -> bool:
    """Tell whether an abstract socket has the name of a group with this tag: its keeper lives."""
    lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    return any("@sundog-join/" in line and line.endswith(f"/{tag}") for line in lines)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x", "no digits found"),
        ("", "no digits found"),
        ("0", "is 0"),
        ("-4", "is -4"),
        ("9" * 5000, "out of range"),
    ],
)
@pytest.mark.parametrize("name", ["FLUX_JOB_SIZE", "MPI_LOCALNRANKS", "SLURM_CPUS_ON_NODE"])
def test_sizes_that_cannot_be(node: Node, name: str, value: str, why: str) -> None:
    given = {name: value}
    if name == "FLUX_JOB_SIZE":
        given |= {"FLUX_JOB_ID": f"f{node.tag}", "FLUX_JOB_NNODES": "1"}
    for kind in KINDS:
        status, output, messages = node.run(kind, "--join", "image", "--", "true", **given)
        assert (status, output) == (31, b"")
        error, hint = messages.splitlines()
        assert error.startswith("error: ")
        assert name in messages
        assert why in (f"{error}\n{hint}")


@pytest.mark.parametrize(
    ("group", "variable"),
    [
        ({"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "TAG"}, "SLURM_JOB_ID"),
        ({"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "TAG"}, "SLURM_STEP_ID"),
        ({"FLUX_JOB_ID": "ƒTAG", "FLUX_URI": "local:///tmp/1/local-0"}, "FLUX_JOB_ID"),
        ({"FLUX_JOB_ID": "ƒTAG", "FLUX_URI": f"local:///{'a' * 99}/local-0"}, "FLUX_URI"),
        ({"PBS_JOBID": f"TAG[2].{'a' * 99}"}, "PBS_JOBID"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_jobs_and_steps_are_groups_of_their_own(
    node: Node, kind: str, group: dict[str, str], variable: str
) -> None:
    """The second has the other start, which must find the same name."""
    step = {name: value.replace("TAG", node.tag[-12:]) for name, value in group.items()}
    words = ["--join", "image", "--", "sh", "-c", f"{NAMESPACES}; read line"]
    peers, found = [], []
    for one, more in ((kind, {}), (other(kind), {}), (kind, {variable: "9"})):
        node.compiled.handed_over()
        peers.append(node.start(one, *words, **step | more))
        stream = peers[-1].stdout
        assert stream is not None
        found.append(stream.readline())
        if len(peers) == 2:
            assert node.compiled.handed_over() == (one == "python")
    assert found[0] == found[1] != found[2]
    end(*peers)


def other(kind: str) -> str:
    """Return the other kind of a start."""
    return KINDS[1 - KINDS.index(kind)]


# Programs that mean harm


# What a program in a container does with the name: it answers as a keeper, with its own namespaces;
# it does not listen; it takes the name again and again.
STRANGERS = {
    "keeper": "s.listen(9)\n"
    "own = [os.open('/proc/self/ns/' + kind, os.O_RDONLY) for kind in ('user', 'mnt')]\n"
    "while True:\n"
    "    peer, _ = s.accept()\n"
    "    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', own))]\n"
    "    with contextlib.suppress(OSError):\n"
    "        peer.sendmsg([b'+image'], rights, socket.MSG_NOSIGNAL)\n",
    "silent": "time.sleep(600)\n",
    "restless": "while True:\n"
    "    try:\n"
    "        s.bind(name)\n"
    "        s.listen(9)\n"
    "        time.sleep(random.random() / 20)\n"
    "    except OSError:\n"
    "        pass\n"
    "    s.close()\n"
    "    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
    "    time.sleep(random.random() / 50)\n",
}


def stranger(node: Node, kind: str) -> Peer:
    """Take the name of a group from inside a container."""
    (node.storage / "version").write_bytes(FORMAT)  # there, the group can meet
    script = node.place / "stranger.py"
    script.write_text(
        "import array, contextlib, os, random, socket, time\n"
        f"name = {node.address()!r}\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "s.bind(name)\n"
        "print('ready', flush=True)\n" + STRANGERS[kind]
    )
    words = ["-b", f"{node.place}:{node.place}", "/", "--", "/usr/bin/python3", str(script)]
    hostile = node.start("python", *words)
    assert hostile.stdout is not None
    assert hostile.stdout.readline() == b"ready\n"
    return hostile


def places_of(node: Node) -> list[Path]:
    """Return the files of groups that have met elsewhere than at the usual socket."""
    return list((node.storage / "run").glob("*/join/*"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["keeper", "silent"])
def test_a_stranger_has_taken_the_name(node: Node, what: str, kind: str) -> None:
    """A neighbour, or a program of an image: the group meets elsewhere."""
    hostile = stranger(node, what)
    first, line = node.member(kind)
    assert line != os.fsencode(os.readlink(f"/proc/{hostile.pid}/ns/user")) + b"\n"
    assert node.join(kind).splitlines()[0] + b"\n" == line
    assert len(places_of(node)) == 2
    # The address of a socket has at most 107 bytes: unix(7).
    assert any(path.is_socket() and len(os.fsencode(path)) > 107 for path in places_of(node))
    end(first)
    until(lambda: not places_of(node) and not keepers_of(node))
    # What a keeper that was killed has left does not matter.
    first, line = node.member(kind)
    until(lambda: keepers_of(node))
    (keeper,) = keepers_of(node)
    os.kill(keeper, signal.SIGKILL)
    assert first.wait(60) == -signal.SIGKILL  # the container ends with its keeper
    first.communicate()
    assert len(places_of(node)) == 2
    end(node.member(kind)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_meets_in_the_place_of_the_configuration(node: Node, kind: str) -> None:
    stranger(node, "keeper")
    file = node.place / "config" / "sundog" / "sundog.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f"run.state = '{node.place}/state'\n")
    for path in (node.place, file.parent.parent, file.parent, file):
        path.chmod(0o755)
    env = {"XDG_CONFIG_HOME": str(node.place / "config"), "XDG_CACHE_HOME": str(node.place)}
    words = (f"--join-tag={node.tag}", "image", "--", "sh", "-c")
    first = node.start(kind, *words, f"{NAMESPACES}; read line", **env)
    assert first.stdout is not None
    line = first.stdout.readline()
    status, output, _ = node.run(kind, *words, NAMESPACES, **env)
    assert (status, output[: len(line)]) == (0, line)
    assert len([*(node.place / "state").glob("*/join/*")]) == 2
    assert places_of(node) == []
    end(first)


def keepers_of(node: Node) -> list[int]:
    """Return the process IDs of the keepers with an ender that groups have elsewhere."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it ends
            if comm.read_text(errors="replace") != "ch-run-ender\n":
                continue
            status = (comm.parent / "status").read_text(errors="replace")
            keeper = int(status.partition("\nPPid:\t")[2].partition("\n")[0])
            files = [os.readlink(fd) for fd in Path(f"/proc/{keeper}/fd").iterdir()]
            if any(name.startswith(str(node.storage)) for name in files):
                found.append(keeper)
    return found


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_a_neighbour_has_taken_the_name(node: Node, kind: str, root_helper: RootHelper) -> None:
    """The name can be guessed: job and step of Slurm are known to all users."""
    (node.storage / "version").write_bytes(FORMAT)
    script = (
        "import os, socket\n"
        f"name = {node.address()!r}\n"
        "sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]\n"
        "for taken, end in zip(sockets, (b'', b'-end')):\n"
        "    taken.bind(name + end)\n"
        "    taken.listen(9)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    for fd in range(3):\n"
        "        os.dup2(os.open('/dev/null', os.O_RDWR), fd)\n"
        "    sockets[1].accept()\n"
    )
    done = root_helper.as_second_user(["/usr/bin/python3", "-c", script])
    assert done.returncode == 0, done.stderr
    try:
        first, line = node.member(kind)
        assert node.join(kind).splitlines()[0] + b"\n" == line
        end(first)
    finally:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as over:
            over.connect(node.address() + b"-end")


def test_a_stranger_comes_and_goes(node: Node) -> None:
    """All processes of the group are in one container nevertheless."""
    hostile = stranger(node, "restless")
    words = [f"--join-tag={node.tag}", "image", "--", "sh", "-c", f"{NAMESPACES}; read line"]
    peers = [node.start(KINDS[number % 2], *words) for number in range(8)]
    hostile.kill()
    peers += [node.start(KINDS[number % 2], *words) for number in range(4)]
    found = {peer.stdout.readline() for peer in peers if peer.stdout is not None}
    assert len(found) == 1
    assert b"" not in found
    end(*peers)


def test_a_stranger_and_no_other_place(node: Node) -> None:
    stranger(node, "keeper")
    (node.storage / "version").unlink()
    words = [f"--join-tag={node.tag}", "image", "--", "true"]
    status, output, messages = node.run("python", *words)
    assert (status, output) == (31, b"")
    error, hint = messages.splitlines()
    assert "a stranger has the socket of the group" in error
    assert "--join-tag" in hint


@pytest.mark.parametrize("kind", KINDS)
def test_an_exec_begins_no_group(kind: str, node: Node) -> None:
    """``sundog exec`` asks for a group that runs: a record makes no container."""
    words = [f"--join-tag={node.tag}", "-b/:/mnt", "image", "--", "cat", "/mnt/etc/passwd"]
    status, output, messages = node.run(kind, *words, SUNDOG_JOIN="running")
    assert (status, output) == (31, b"")
    assert f"join: the group {node.tag} is over" in messages
    first, line = node.member(kind)
    words = [f"--join-tag={node.tag}", "image", "--", "sh", "-c", NAMESPACES]
    status, output, messages = node.run(kind, *words, SUNDOG_JOIN="running")
    assert (status, output.splitlines(keepends=True)[:1], messages) == (0, [line], "")
    end(first)


def test_a_program_of_an_image_asks_the_keeper(node: Node) -> None:
    first, _ = node.member("python")
    script = node.place / "ask.py"
    script.write_text(
        "import socket\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"s.connect({node.address()!r})\n"
        "print(s.recvmsg(9, 99)[:2])\n"
    )
    words = ["-b", f"{node.place}:{node.place}", "/", "--", "/usr/bin/python3", str(script)]
    assert node.run("python", *words) == (0, b"(b'-', [])\n", "")
    end(first)


def test_a_program_can_look_into_no_keeper(node: Node) -> None:
    """It is root in the container, but the keeper is in the user namespace of the caller."""
    first, _ = node.member("python", "-u0", "-g0")
    pidfd = node.keeper()
    keeper = pid_of(pidfd)
    assert Path(f"/proc/{keeper}/comm").read_text() == "ch-run-keeper\n"
    assert Path(f"/proc/{keeper}/cmdline").read_bytes().strip(b"\0") == b""
    assert os.readlink(f"/proc/{keeper}/cwd") == "/"
    open_files = set()
    for path in Path(f"/proc/{keeper}/fd").iterdir():
        with suppress(FileNotFoundError):  # of the process that has just asked it
            open_files.add(os.readlink(path))
    assert {name.partition(":")[0] for name in open_files} == {
        *("/dev/null", "socket", "user", "mnt"),
        *(name.partition(":")[0] for name in open_files if "pidfd" in name),
    }
    script = f"cd /proc/{keeper}; for f in root/etc fd/0 ns/user exe cwd/etc; do "
    script += "ls -L $f >/dev/null 2>&1 && echo $f; done; cat environ mem; :"
    status, output, messages = node.run(
        "python", f"--join-tag={node.tag}", "image", "--", "sh", "-c", script
    )
    assert (status, output) == (0, b"")
    assert messages.count("Permission denied") == 2
    end(first)
    has_ended(pidfd)


@pytest.mark.parametrize("start", ["setns", "execveat"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_program_can_look_into_no_peer(node: Node, kind: str, start: str) -> None:
    """A peer is in the container already, and has not become its command."""
    first, _ = node.member("python", "-u0", "-g0")
    log = node.place / "log"
    # The second setns(2), and the last step: then the process holds only what the command gets.
    number = "when=1" if start == "execveat" else "when=2"
    ch_run = node.command if kind == "compiled" else node.compiled.stub
    # strace stops the process as soon as the call has begun or ended.
    stop = ["-e", f"inject={start}:signal=SIGSTOP:{number}"]
    words = [f"--join-tag={node.tag}", "image", "--", "sleep", "60"]
    if start == "execveat":
        stop = ["-e", f"inject={start}:error=EPERM:signal=SIGSTOP:{number}"]
    tracer = subprocess.Popen(
        ["strace", "-o", log, *stop, ch_run, *words],
        env=ENVIRONMENT,
        cwd=node.place,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: log.exists() and "--- stopped by SIGSTOP" in log.read_text())
    (peer,) = children_of(tracer.pid)
    script = f"readlink /proc/{peer}/exe || readlink /proc/{peer}/fd/0 || cat /proc/{peer}/environ"
    _, output, messages = node.run(
        "python", f"--join-tag={node.tag}", "image", "--", "sh", "-c", script
    )
    os.kill(peer, signal.SIGKILL)
    tracer.wait()
    assert output == b""
    assert messages.endswith("Permission denied")
    end(first)


def test_a_name_that_nobody_listens_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has an end."""
    from sundog.errors import SundogError
    from sundog.runtime.launcher import join
    from sundog.runtime.launcher.messages import Messages

    monkeypatch.setattr(join, "JOIN_ATTEMPTS", 3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as taken:
        taken.bind(b"\0other-name")
        monkeypatch.setattr(join, "inherited_socket", lambda _: None)
        with pytest.raises(SundogError, match="nobody listens on the socket of the group tag"):
            join.Group(
                b"\0other-name",
                Environment([]),
                b"tag",
                b"image",
                Messages(),
                is_attended=False,
                may_begin=True,
            )


# Messages through memory


def test_peers_read_each_others_memory(node: Node) -> None:
    """MPI libraries copy between ranks by process_vm_readv(2): cross-memory attach."""
    source = node.place / "cma.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n#include <sys/uio.h>\n"
        "#include <unistd.h>\n"
        'static char text[] = "of the other";\n'
        "int main(int n, char **v) {\n"
        ' if (n < 2) { printf("%d %p\\n", getpid(), (void *)text); fflush(stdout);'
        " getchar(); return 0; }\n"
        " char copy[sizeof text] = {0}; struct iovec to = {copy, sizeof copy},"
        " from = {(void *)strtoul(v[2], 0, 16), sizeof copy};\n"
        " if (process_vm_readv(atoi(v[1]), &to, 1, &from, 1, 0) < 0)"
        ' { perror("readv"); return 1; }\n'
        " puts(copy); return 0; }\n"
    )
    program = node.place / "image" / "bin" / "cma"
    subprocess.run(["gcc", "-static", source, "-o", program], check=True)
    for kind in KINDS:
        words = [f"--join-tag={node.tag}", "image", "--", "cma"]
        first = node.start(kind, *words)
        assert first.stdout is not None
        place = first.stdout.readline().decode().split()
        assert node.run(kind, *words, *place) == (0, b"of the other\n", "")
        # Without --join the two are in different user namespaces.
        assert node.run(kind, "image", "--", "cma", *place)[0] == 1
        end(first)
