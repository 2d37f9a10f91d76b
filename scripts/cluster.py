"""A Slurm cluster on one machine, for the root helper: a controller and four nodes.

Each node has its own spool directory, at one path: under ``srun --container``, Slurm's plug-in for
PMIx sends to the path of the sender's own socket, on every node.  There are no cgroups: Slurm
tracks processes by their parents, and kills jobs that use too much memory by itself.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from typing import TYPE_CHECKING

from scripts import nodes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NODES = 4
CPUS = 16  # of each node; more than there are, so that ranks wait for no other test
MEMORY = 2000  # of each node, in MiB
NEEDS = (
    *nodes.NEEDS, "libpmi0t64", "libpmi2-0t64", "libpmix2t64", "munge", "slurm-client",
    "slurm-wlm-basic-plugins", "slurmctld", "slurmd",
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
NODE = "NodeName={name} NodeAddr={address} CPUs={cpus} RealMemory={memory}"


def lacking() -> str:
    """Return what this machine lacks for a cluster, "" if nothing."""
    for program in ("ip", "munged", "slurmctld", "slurmd", "srun", "unshare"):
        if shutil.which(program) is None:
            return f"no {program}"
    return ""


class Cluster(nodes.Nodes):
    """A running cluster; its file slurm.conf is what $SLURM_CONF has to name."""

    @classmethod
    def start(cls, files: Mapping[str, str], number: int, programs: str = "") -> Cluster:
        """Start a cluster, and wait until all nodes are idle.

        ``files`` are the contents of files beside its slurm.conf, by name.  Raises ValueError with
        the ends of all logs if the start takes too long.
        """
        cluster = cls.reserved(number, NODES, programs)
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

    def _start(self, files: Mapping[str, str]) -> None:
        for name in ("munge", "spool", "state"):
            (self.directory / name).mkdir()
        self.connect()
        lines = [
            NODE.format(name=node, address=self.addresses[node], cpus=CPUS, memory=MEMORY)
            for node in self.nodes
        ]
        self.configuration.write_text(
            CONFIGURATION.format(
                name=self.name,
                network=self.network,
                directory=self.directory,
                nodes="\n".join(lines),
            )
        )
        for name, content in {"cgroup.conf": "CgroupPlugin=disabled\n", **files}.items():
            (self.directory / name).write_text(content)
        self._start_munge()
        self._start_daemon(self.controller, ["slurmctld", "-D", "-f", str(self.configuration)])
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
        self.spawn("munged", [*command, f"--seed-file={place / 'seed'}"], user=user.pw_uid)
        self.until((place / "socket").exists)

    def _start_daemon(self, node: str, command: list[str]) -> None:
        """Start a daemon in the namespaces of its node."""
        spool = self.directory / f"spool.{node}"
        spool.mkdir()
        self.spawn(node, [*self.entered(node, {spool: self.directory / "spool"}), *command])

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

        self.until(ready)
