"""OpenPBS, as somebody has installed it, with a server and two nodes: `make openpbs`.

No distribution that we use has it.  Its daemons run as root, and the PostgreSQL of its server as
the user whom Debian has for that.  Each node has its own home of PBS, at one path.

Its sources need `./autogen.sh; ./configure --prefix=DIR; make` as root, then `make install` with
directories for what it else puts into /etc and /lib (sysprofiledir=DIR/etc unitfiledir=DIR/etc),
and `chmod 4755 DIR/sbin/pbs_iff`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import nodes
from scripts.place import WorkshopError, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "SUNDOG_OPENPBS"  # names the file of its configuration, for the tests
NEEDS = (*nodes.NEEDS, "postgresql")
NODES = 2
CPUS = 16  # of each node; more than there are, so that jobs wait for no other
NUMBER = 3  # of this cluster, beside those of Slurm
KILL_DELAY = 5  # seconds from SIGTERM to SIGKILL

CONFIGURATION = """\
PBS_EXEC={prefix}
PBS_HOME={home}
PBS_SERVER={server}
PBS_SERVER_HOST_NAME={address}
PBS_START_SERVER=1
PBS_START_COMM=1
PBS_START_SCHED=1
PBS_START_MOM=1
PBS_TMPDIR=/tmp
"""
# Daemons refuse a home below a directory that everybody can write to, such as /var/tmp.
PLACE = "/srv"
# What the installation of a package makes: directories and their modes.
HOME = {
    0o700: ("checkpoint",),
    0o750: (
        "mom_priv/hooks", "mom_priv/hooks/tmp", "sched_priv", "server_priv", "server_priv/hooks",
        "server_priv/hooks/tmp", "server_priv/jobs", "server_priv/users",
    ),
    0o751: ("mom_priv", "mom_priv/jobs"),
    0o755: ("aux", "comm_logs", "mom_logs", "sched_logs", "server_logs", "server_priv/accounting"),
    0o1777: ("spool", "undelivered"),
}  # fmt: skip
# The scheduler's files, by their names in the installation.
SCHEDULER = {
    "pbs_dedicated": "dedicated_time",
    "pbs_holidays": "holidays",
    "pbs_resource_group": "resource_group",
    "pbs_sched_config": "sched_config",
}
USER = "postgres"
SOCKETS = "/run/postgresql"
# Make the database; then become the server.
SERVER = """\
. "$0/libexec/pbs_db_env"
"$0/libexec/pbs_db_utility" install_db && exec "$0/sbin/pbs_server" -t create -N
"""
# flatuid: users of other machines than the server's are the same.
SETTINGS = """\
create queue workq queue_type=Execution,enabled=True,started=True
set queue workq kill_delay = {delay}
set server default_queue = workq
set server flatuid = True
set server job_history_enable = True
"""
NODE = """\
create node {node}
set node {node} resources_available.ncpus = {cpus}
"""


class OpenPBS(nodes.Nodes):
    """Running daemons; the file pbs.conf is what $PBS_CONF_FILE has to name."""

    prefix: Path

    @property
    def configuration(self) -> Path:
        """Return the path of pbs.conf."""
        return self.directory / "pbs.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of daemons, and of the commands that set them up."""
        more = {"PBS_CONF_FILE": str(self.configuration), "PBS_DATA_SERVICE_USER": USER}
        for name in ("PBS_EXEC", "PBS_HOME", "PBS_SERVER"):
            more[name] = self._settings[name]
        return super().environment | more

    @property
    def _settings(self) -> dict[str, str]:
        text = CONFIGURATION.format(
            prefix=self.prefix,
            home=PLACE,
            server=self.controller,
            address=self.addresses[self.controller],
        )
        return dict(line.split("=", 1) for line in text.splitlines())

    @property
    def logs(self) -> list[Path]:
        """Return the files that tell what daemons did."""
        return [*super().logs, *sorted(self.directory.glob("home.*/*_logs/*"))]

    def start(self) -> None:
        """Start all daemons, and wait until all nodes are free."""
        lines = [f"{name}={value}" for name, value in self._settings.items()]
        self.configuration.write_text("\n".join([*lines, ""]))
        here = {"localhost": "127.0.0.1", socket.gethostname(): self.address}
        hosts = [f"{address} {name}" for name, address in (here | self.addresses).items()]
        (self.directory / "hosts").write_text("\n".join([*hosts, ""]))
        sockets = self.directory / "sockets"
        sockets.mkdir()
        os.chown(sockets, pwd.getpwnam(USER).pw_uid, -1)
        self.connect()
        for node in self.addresses:
            self._furnish(self._home(node))
        daemons = {"comm": "pbs_comm", "sched": "pbs_sched"}
        self._daemon("server", self.controller, "sh", "-c", SERVER, str(self.prefix))
        for name, program in daemons.items():
            self._daemon(name, self.controller, f"{self.prefix}/sbin/{program}", "-N")
        self.until(self._configured)
        for node in self.nodes:
            self._daemon(node, node, f"{self.prefix}/sbin/pbs_mom", "-N")
        self.until(self._free)

    def _home(self, node: str) -> Path:
        return self.directory / f"home.{node}"

    def _entered(self, node: str) -> list[str]:
        binds: dict[Path, str | Path] = {
            self._home(node): PLACE,
            self.directory / "hosts": "/etc/hosts",
            self.directory / "sockets": SOCKETS,
        }
        return self.entered(node, binds)

    def _daemon(self, name: str, node: str, *command: str) -> None:
        self.spawn(name, [*self._entered(node), *command])

    def _furnish(self, home: Path) -> None:
        """Make a home of PBS."""
        home.mkdir()
        for mode, names in HOME.items():
            for name in names:
                (home / name).mkdir(parents=True, exist_ok=True)
                (home / name).chmod(mode)
        for source, name in SCHEDULER.items():
            (home / "sched_priv" / name).write_bytes((self.prefix / "etc" / source).read_bytes())
        (home / "pbs_environment").write_text("PATH=/usr/bin:/bin\n")
        # Nodes and users share their files: output needs no remote copy.
        (home / "mom_priv/config").write_text("$usecp *:/ /\n")
        user = home / "server_priv/db_user"
        user.write_text(USER)
        user.chmod(0o600)

    def _configured(self) -> bool:
        """Give the server its settings, if it answers; tell whether it took them."""
        each = [NODE.format(node=node, cpus=CPUS) for node in self.nodes]
        done = subprocess.run(
            [*self._entered(self.controller), f"{self.prefix}/bin/qmgr"],
            input="".join([SETTINGS.format(delay=KILL_DELAY), *each]),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        with (self.directory / "log/qmgr.out").open("w") as log:
            log.write(done.stderr)
        return not done.returncode

    def _free(self) -> bool:
        """Tell whether the nodes can run jobs."""
        done = subprocess.run(
            [f"{self.prefix}/bin/pbsnodes", "-a"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.count("state = free") == NODES


@contextlib.contextmanager
def running(prefix: Path) -> Iterator[Path]:
    """Run the daemons of an installation; give the file of their configuration."""
    usage = "make openpbs OPENPBS=DIR, with the prefix of an installation"
    installed(prefix, "OpenPBS", "sbin/pbs_server", usage)
    if prefix.is_relative_to("/tmp"):
        raise WorkshopError(f"{prefix} is not on the nodes: each has its own /tmp\nhint: {usage}")
    asker = (prefix / "sbin/pbs_iff").stat()  # tells the server who a user is
    if os.geteuid() != 0 or asker.st_uid != 0 or not asker.st_mode & stat.S_ISUID:
        raise WorkshopError(
            "only root can start daemons of OpenPBS, from files of root, with sbin/pbs_iff set-uid"
        )
    cluster = OpenPBS.reserved(NUMBER, NODES, postgres())
    cluster.prefix = prefix
    try:
        try:
            cluster.start()
        except ValueError as error:
            raise WorkshopError(str(error)) from error
        yield cluster.configuration
    finally:
        cluster.stop()


def postgres() -> str:
    """Return the directory of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return str(found[-1].parent)
