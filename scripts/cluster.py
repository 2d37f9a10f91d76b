"""A Slurm cluster on one machine, for the root helper: a controller and four nodes.

Each node has its own network, host name, IPC, /tmp and /dev/shm, as a machine would have.  MPI
needs this: ranks with one address or one /tmp take each other for neighbours, and UCX uses the
shared memory of one IPC namespace.  Each has its own spool directory, at one path: under
``srun --container``, Slurm's plug-in for PMIx sends to the path of the sender's own socket, on
every node.  The nodes share the users and all other files.  There are no
cgroups: Slurm tracks processes by their parents, and kills jobs that use too much memory by itself.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NODES = 4
CPUS = 16  # of each node; more than there are, so that ranks wait for no other test
MEMORY = 2000  # of each node, in MiB
START = 60.0  # seconds for all nodes to become idle
NEEDS = (
    "iproute2", "libpmi0t64", "libpmi2-0t64", "libpmix2t64", "munge", "slurm-client",
    "slurm-wlm-basic-plugins", "slurmctld", "slurmd", "util-linux",
)  # fmt: skip

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={name}0({network}.10)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
CredType=cred/munge
LaunchParameters=use_interactive_step
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/none
KillWait=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerType=sched/builtin
ReturnToService=2
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/log/slurmctld
SlurmdLogFile={directory}/log/%n
SlurmdParameters=config_overrides
MailProg=/bin/true
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""
NODE = "NodeName={name}{number} NodeAddr={network}.{address} CPUs={cpus} RealMemory={memory}"

# In a node's namespaces: $1 is its name, $2 its own /tmp, $3 its own directory for $4.
INSIDE = """\
hostname "$1" && mount --bind "$2" /tmp && mount --bind "$3" "$4" &&
    mount -t tmpfs shm /dev/shm && shift 4 && exec "$@"
"""


def lacking() -> str:
    """Return what this machine lacks for a cluster, "" if nothing."""
    for program in ("ip", "munged", "slurmctld", "slurmd", "srun", "unshare"):
        if shutil.which(program) is None:
            return f"no {program}"
    return ""


@dataclass
class Cluster:
    """A running cluster; its file slurm.conf is what $SLURM_CONF has to name."""

    directory: Path
    network: str  # the first three numbers of its addresses
    name: str  # of the bridge; the prefix of the nodes' names
    programs: str  # the daemons' search path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def start(cls, files: Mapping[str, str], number: int, programs: str = "") -> Cluster:
        """Start a cluster, and wait until all nodes are idle.

        ``files`` are the contents of files beside its slurm.conf, by name.  ``number`` tells the
        clusters of this process apart.  The daemons look for programs in the directory ``programs``
        first.  Raises ValueError with the ends of all logs if the start takes too long.
        """
        directory = Path(tempfile.mkdtemp(prefix="sundog-cluster.", dir="/var/tmp"))
        directory.chmod(0o755)
        # Other processes have clusters, too: each has a network of its own.
        pid = os.getpid()
        network = f"10.{77 + number * 20 + pid // 250 % 20}.{pid % 250}"
        path = ":".join(filter(None, (programs, "/usr/sbin:/usr/bin:/sbin:/bin")))
        cluster = cls(directory, network, f"sd{pid}{'nmk'[number]}", path)
        try:
            cluster._start(files)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @property
    def configuration(self) -> Path:
        """Return the path of slurm.conf."""
        return self.directory / "slurm.conf"

    @property
    def address(self) -> str:
        """Return the address at which all nodes reach what is outside of them."""
        return f"{self.network}.1"

    @property
    def nodes(self) -> list[str]:
        """Return the names of the nodes; the controller's, which has number 0, is not one."""
        return [f"{self.name}{number}" for number in range(1, NODES + 1)]

    def _start(self, files: Mapping[str, str]) -> None:
        network = self.network
        for name in ("log", "munge", "spool", "state"):
            (self.directory / name).mkdir()
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "address", "add", f"{self.address}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        for number in range(NODES + 1):
            node, link = f"{self.name}{number}", f"{self.name}v{number}"
            run("ip", "netns", "add", node)
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", node)
            run("ip", "link", "set", link, "master", self.name, "up")
            inside = ("ip", "-netns", node)
            run(*inside, "address", "add", f"{network}.{10 + number}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                run(*inside, "link", "set", interface, "up")
        nodes = [
            NODE.format(
                name=self.name,
                number=number,
                network=network,
                address=10 + number,
                cpus=CPUS,
                memory=MEMORY,
            )
            for number in range(1, NODES + 1)
        ]
        self.configuration.write_text(
            CONFIGURATION.format(
                name=self.name, network=network, directory=self.directory, nodes="\n".join(nodes)
            )
        )
        for name, content in {"cgroup.conf": "CgroupPlugin=disabled\n", **files}.items():
            (self.directory / name).write_text(content)
        self._start_munge()
        self._start_daemon(f"{self.name}0", ["slurmctld", "-D", "-f", str(self.configuration)])
        for node in self.nodes:
            self._start_daemon(node, ["slurmd", "-D", "-f", str(self.configuration), "-N", node])
        self._wait()

    def _start_munge(self) -> None:
        """Start munged, which runs as a user of its own, and wait for its socket."""
        place, user = self.directory / "munge", pwd.getpwnam("munge")
        key = place / "key"
        key.write_bytes(os.urandom(1024))
        for path, mode in ((place, 0o755), (key, 0o400)):
            path.chmod(mode)
            os.chown(path, user.pw_uid, user.pw_gid)
        options = [f"--{name}={place / name}" for name in ("socket", "pid-file", "log-file")]
        command = ["munged", "--foreground", f"--key-file={key}", *options]
        self._spawn("munged", [*command, f"--seed-file={place / 'seed'}"], user=user.pw_uid)
        self._until((place / "socket").exists)

    def _start_daemon(self, node: str, command: list[str]) -> None:
        """Start a daemon in the namespaces of its node."""
        tmp, spool = (self.directory / f"{name}.{node}" for name in ("tmp", "spool"))
        for path in (tmp, spool):
            path.mkdir(exist_ok=True)
        tmp.chmod(0o1777)
        enter = ["ip", "netns", "exec", node, "unshare", "--uts", "--ipc", "--mount"]
        enter += ["--propagation=private", "sh", "-c", INSIDE, "sh", node]
        enter += map(str, (tmp, spool, self.directory / "spool"))
        self._spawn(node, [*enter, *command])

    def _spawn(self, name: str, command: list[str], *, user: int | None = None) -> None:
        with (self.directory / "log" / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={"PATH": self.programs, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                user=user,
                group=user,
            )
        self.processes.append(process)

    def _wait(self) -> None:
        """Wait until all nodes are idle."""
        command = ["sinfo", "--noheader", "--Node", "--format=%N %T"]
        idle = {f"{node} idle" for node in self.nodes}
        environment = {"PATH": "/usr/bin:/bin", "SLURM_CONF": str(self.configuration)}

        def ready() -> bool:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            return set(done.stdout.splitlines()) == idle

        self._until(ready)

    def _until(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START
        while not ready():
            if time.monotonic() > end:
                logs = sorted((self.directory / "log").iterdir())
                tails = [f"{log.name}: {log.read_text(errors='replace')[-500:]}" for log in logs]
                raise ValueError("the cluster did not start\n" + "\n".join(tails))
            time.sleep(0.05)

    def stop(self) -> None:
        """End all processes of the cluster, and remove its networks and its directory."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for number in range(NODES + 1):
            node = f"{self.name}{number}"
            found = subprocess.run(
                ["ip", "netns", "pids", node], capture_output=True, text=True, check=False
            )
            for pid in found.stdout.split():  # steps that are still running
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
