"""An NFS server and two nodes that mount its directory, each a virtual machine.

Each node has a cable of its own to the server, so that no network of this machine is touched.
"""

from __future__ import annotations

import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.vm.image import USER
from scripts.vm.machine import Link, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from scripts.vm.image import Image

NODES = 2
VERSIONS = ("3", "4.2")
# Seconds after which a server of NFS 4 forgets a client that is silent.  Linux's default is 90.
LEASE = 10
NETWORK = "10.0"

SERVER = """
set -e
for node in $(seq 0 $(($1 - 1))); do
    ip address add $2.$node.1/24 dev eth$node
    ip link set eth$node up
done
ip link set lo up
for version in 3 4.2; do
    mkdir -p /srv/nfs/$version
    chown $4: /srv/nfs/$version
done
modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /var/lib/nfs/rpc_pipefs
mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
mkdir -p /run/rpcbind /run/sendsigs.omit.d
rpcbind -w
rpc.statd
echo '/srv/nfs *(rw,sync,no_subtree_check)' >/etc/exports
exportfs -ra
rpc.nfsd --lease-time $3 --grace-time $3 4
rpc.mountd
"""
NODE = """
set -e
ip link set lo up
ip address add $2.$1.2/24 dev eth0
ip link set eth0 up
mkdir -p /run/rpcbind /run/sendsigs.omit.d
rpcbind -w
rpc.statd
"""
MOUNT = """
for version in 3 4.2; do
    mkdir -p /nfs/$version
    mount -t nfs -o vers=$version $2.$1.1:/srv/nfs/$version /nfs/$version || exit 1
done
"""


@dataclass(frozen=True)
class Given:
    """Parts that machines start from: an image, a tar for each, perhaps KVM, and a directory."""

    image: Image
    files: Path
    kvm: Path | None
    directory: Path

    def link(self, number: int) -> Link:
        """Return the cable of a node."""
        return Link(self.directory / f"cable{number}")

    def server(self) -> Machine:
        """Start the server."""
        network = [word for number in range(NODES) for word in self.link(number).end(0, number)]
        server = self._machine("server", network)
        try:
            server.run("sh", "-c", SERVER, "sh", str(NODES), NETWORK, str(LEASE), USER)
        except BaseException:
            server.stop()
            raise
        return server

    def node(self, number: int) -> Machine:
        """Start a node; it does not mount anything."""
        return self._machine(f"node{number}", self.link(number).end(1, number))

    def _machine(self, name: str, network: Sequence[str]) -> Machine:
        place = self.directory / name
        shutil.rmtree(place, ignore_errors=True)
        return Machine.start(
            self.image, place, name=name, files=self.files, network=network, kvm=self.kvm
        )


@dataclass(frozen=True)
class Site:
    """A running server and its nodes."""

    given: Given
    server: Machine
    nodes: list[Machine]

    def connect(self, number: int) -> None:
        """Give a node its address and the services of a client, and mount the exports."""
        self.nodes[number].run("sh", "-c", NODE, "sh", str(number), NETWORK)
        self.mount(number)

    def mount(self, number: int) -> None:
        """Mount what the server exports, once for each version, on a node."""
        self.nodes[number].run("sh", "-c", MOUNT, "sh", str(number), NETWORK)

    def cut(self, number: int) -> None:
        """Cut the power of a node."""
        self.nodes[number].stop()

    def restart(self, number: int) -> None:
        """Start a node whose power was cut."""
        self.nodes[number] = self.given.node(number)
        self.connect(number)


@contextlib.contextmanager
def running(given: Given) -> Iterator[Site]:
    """Start the machines, all at once, and give them; cut their power at the end."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        starting = [pool.submit(given.server)]
        starting += [pool.submit(given.node, number) for number in range(NODES)]
        for one in starting:
            stack.callback(_stop, one)
        server, *nodes = [one.result() for one in starting]
        site = Site(given, server, nodes)
        for number in range(NODES):
            site.connect(number)
        yield site
        for number in range(NODES):  # those that were restarted are others
            site.cut(number)


def _stop(starting: Future[Machine]) -> None:
    """Stop a machine that has started, or will have."""
    with contextlib.suppress(Exception):
        starting.result().stop()


def mounted(version: str) -> Path:
    """Return where nodes have what the server exports for this version of NFS."""
    return Path("/nfs", version)
