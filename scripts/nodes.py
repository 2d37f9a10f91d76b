"""Nodes on one machine, for the clusters of tests.

Each node has its own network, host name, IPC, /tmp and /dev/shm, as a machine would have.  MPI
needs this: ranks with one address or one /tmp take each other for neighbours, and UCX uses the
shared memory of one IPC namespace.  The nodes share the users and all other files, but those that
are bound.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START = 240.0  # seconds for all nodes to become idle, on a machine that does much else
NEEDS = ("iproute2", "util-linux")
LETTERS = "nmkp"  # tell apart the clusters of a process

# In a node's namespaces: $1 is its name, $2 its own /tmp; then pairs of what is bound, and where.
INSIDE = """\
hostname "$1" && mount --bind "$2" /tmp && mount -t tmpfs shm /dev/shm && shift 2 || exit
until [ "$1" = -- ]; do mount --bind "$1" "$2" && shift 2 || exit; done
shift
exec "$@"
"""


@dataclass
class Nodes:
    """A controller's node, which has number 0, and ``count`` others.  Subclasses run daemons."""

    directory: Path
    network: str  # the first three numbers of its addresses
    name: str  # of the bridge; the prefix of the nodes' names
    programs: str  # the daemons' search path
    count: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def reserved(cls, number: int, count: int, programs: str = "") -> Self:
        """Return nodes that have a new directory, and nothing else yet.

        ``number`` tells the clusters of this process apart.  The daemons look for programs in the
        directory ``programs`` first.
        """
        directory = Path(tempfile.mkdtemp(prefix="sundog-cluster.", dir="/var/tmp"))
        directory.chmod(0o755)
        # Other processes have clusters, too: each has a network of its own.
        pid = os.getpid()
        network = f"10.{77 + number * 20 + pid // 250 % 20}.{pid % 250}"
        path = ":".join(filter(None, (programs, "/usr/sbin:/usr/bin:/sbin:/bin")))
        (directory / "log").mkdir()
        return cls(directory, network, f"sd{pid}{LETTERS[number]}", path, count)

    @property
    def address(self) -> str:
        """Return the address at which all nodes reach what is outside of them."""
        return f"{self.network}.1"

    @property
    def controller(self) -> str:
        """Return the name of the controller's node."""
        return f"{self.name}0"

    @property
    def nodes(self) -> list[str]:
        """Return the names of the other nodes."""
        return [f"{self.name}{number}" for number in range(1, self.count + 1)]

    @property
    def addresses(self) -> dict[str, str]:
        """Return the addresses of all nodes, the controller's first, by name."""
        nodes = [self.controller, *self.nodes]
        return {node: f"{self.network}.{10 + number}" for number, node in enumerate(nodes)}

    def connect(self) -> None:
        """Make the network."""
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "address", "add", f"{self.address}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        for number, (node, address) in enumerate(self.addresses.items()):
            link = f"{self.name}v{number}"
            run("ip", "netns", "add", node)
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", node)
            run("ip", "link", "set", link, "master", self.name, "up")
            inside = ("ip", "-netns", node)
            run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                run(*inside, "link", "set", interface, "up")

    def entered(self, node: str, binds: Mapping[Path, str | Path]) -> list[str]:
        """Return the beginning of a command that runs on a node, where ``binds`` are bound."""
        tmp = self.directory / f"tmp.{node}"
        tmp.mkdir(exist_ok=True)
        tmp.chmod(0o1777)
        enter = ["ip", "netns", "exec", node, "unshare", "--uts", "--ipc", "--mount"]
        enter += ["--propagation=private", "sh", "-c", INSIDE, "sh", node, str(tmp)]
        return [*enter, *(str(path) for pair in binds.items() for path in pair), "--"]

    def spawn(self, name: str, command: list[str], *, user: int | None = None) -> None:
        """Start a daemon, whose output is in a file ``name``.out beside the other logs."""
        with (self.directory / "log" / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                user=user,
                group=user,
            )
        self.processes.append(process)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of daemons."""
        return {"PATH": self.programs, "LANG": "C.UTF-8"}

    @property
    def logs(self) -> list[Path]:
        """Return the files that tell what daemons did."""
        return sorted((self.directory / "log").iterdir())

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait until something is ready.  Raises ValueError with the ends of all logs."""
        end = time.monotonic() + START
        while not ready():
            if time.monotonic() > end:
                tails = [f"{log}: {log.read_text(errors='replace')[-500:]}" for log in self.logs]
                raise ValueError("the cluster did not start\n" + "\n".join(tails))
            time.sleep(0.05)

    def stop(self) -> None:
        """End all processes of the cluster, and remove its networks and its directory."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for node in self.addresses:
            found = subprocess.run(
                ["ip", "netns", "pids", node], capture_output=True, text=True, check=False
            )
            for pid in found.stdout.split():  # what daemons and jobs have left
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", node], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self.name], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def run(*command: str) -> None:
    """Run a command; raise ValueError with its message if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: {done.stderr.strip()}")
