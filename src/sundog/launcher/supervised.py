"""A step whose root emulation keeps its word: the guard is the supervisor of its processes.

The guard shares the container's user and mount namespaces and, after the init's pivot_root(2), its
root, but not its PID namespace: so it sees the processes under the numbers that notifications
carry, through the /proc that it opened before.  It starts with what the layers below record about
owners, and ends with what the step's own layer has to record.

Not part of ``ch-run``.
"""

import errno
import os
from _socket import AF_UNIX, SOCK_STREAM, socketpair

from sundog.emulation.bpf import SECCOMP_RET_ALLOW, assemble, verdict
from sundog.emulation.notify.abi import NOTIFY_ABIS
from sundog.emulation.notify.capabilities import all_capabilities
from sundog.emulation.notify.credentials import superuser
from sundog.emulation.notify.listener import (
    Listener,
    install_listener,
    receive_descriptor,
    send_descriptor,
)
from sundog.emulation.notify.persist import (
    collect_manifest,
    linked_paths,
    load_records,
    merged_manifest,
)
from sundog.emulation.notify.program import notify_program
from sundog.emulation.notify.state import State
from sundog.emulation.notify.supervisor import Supervisor
from sundog.errors import KernelError
from sundog.kernel.numbers import process_abi
from sundog.kernel.process import set_no_new_privs
from sundog.launcher.child import Child
from sundog.record.owners import OwnersManifest, read_owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Recorded:
    """What a layer records: the directory ``tree`` and the owners manifest ``owners``, as paths."""

    __slots__ = ("owners", "tree")

    def __init__(self, tree: bytes, owners: bytes) -> None:
        self.tree = tree
        self.owners = owners


class Emulation:
    """A supervised step: what it starts from, and, afterwards, what it did.

    layers      topmost first, as they are mounted
    changes     the directory that comes to hold what the step changes
    is_stable   the inodes of the layers are those that the container sees, and are never freed
    """

    __slots__ = (
        "_changes",
        "_linked",
        "_manifest",
        "_ours",
        "_proc",
        "_theirs",
        "_trees",
        "changes",
        "is_stable",
        "layers",
    )

    def __init__(self, layers: "Sequence[Recorded]", changes: bytes, *, is_stable: bool) -> None:
        self.layers = layers
        self.changes = changes
        self.is_stable = is_stable

    def prepare(self) -> None:
        """Open what the supervisor needs of the host, before the container's root hides it."""
        self._proc = os.open(b"/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        directory = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._trees = [
            (os.open(layer.tree, directory), read_owners(layer.owners)) for layer in self.layers
        ]
        self._changes = os.open(self.changes, directory)
        self._ours, self._theirs = socketpair(AF_UNIX, SOCK_STREAM)

    def merge(self) -> None:
        """Put together what the layers record, as mock root, who may look into every directory."""
        self._manifest = merged_manifest(self._trees)
        self._linked = linked_paths(self._trees, self._manifest) if self.is_stable else frozenset()

    def install(self) -> None:
        """Put the calling process, the command to be, under the filter, and pass the listener on.

        Raises KernelError, with EBUSY where another supervisor is further up.
        """
        abi = NOTIFY_ABIS[process_abi()]
        program = notify_program(abi, follow_names=bool(self._linked))
        listener = install_listener(program, abi.numbers["seccomp"])
        send_descriptor(self._theirs.fileno(), listener)
        os.close(listener)
        self._theirs.close()

    def release(self) -> None:
        """Close, in a process that will not install, the end for the one that does."""
        self._theirs.close()

    def supervise(self) -> "Supervised | None":
        """Answer until the container is empty; return what came of it.

        None if the command never came to be.
        """
        self.release()
        listener = receive_descriptor(self._ours.fileno())
        if listener < 0:
            return None
        os.fchdir(self._proc)
        abi = NOTIFY_ABIS[process_abi()]
        state = State(abi, Listener(listener), superuser(all_capabilities()))
        if self._manifest:
            load_records(state, self._manifest, is_stable=self.is_stable, linked=self._linked)
        incidents: list[str] = []
        statistics = Supervisor(state, incidents.append).serve()
        owners = collect_manifest(state, self._changes)
        return Supervised(owners, statistics.lines(), incidents, statistics.incidents)


class Supervised:
    """What came of a supervised step.

    owners      what its layer has to record about the paths that it holds
    statistics  for people
    incidents   the first of the calls that the supervisor failed to answer, and left to the kernel
    failures    how many those were in all
    """

    __slots__ = ("failures", "incidents", "owners", "statistics", "status")

    def __init__(
        self, owners: OwnersManifest, statistics: list[str], incidents: list[str], failures: int
    ) -> None:
        self.owners = owners
        self.statistics = statistics
        self.incidents = incidents
        self.failures = failures
        self.status = 0


def refusal(ptrace_scope: bytes = b"/proc/sys/kernel/yama/ptrace_scope") -> str:
    """Say why no step can be supervised here; "" if one can."""
    if process_abi() not in NOTIFY_ABIS:
        return f"no tables for {os.uname().machine}"
    try:
        with open(ptrace_scope, "rb") as file:
            if file.read().strip() == b"3":
                return "kernel.yama.ptrace_scope is 3: no process may look into another"
    except OSError:
        pass  # no Yama in this kernel

    def attempt(_tie: object) -> str:
        set_no_new_privs()
        abi = NOTIFY_ABIS[process_abi()]
        try:
            os.close(
                install_listener(assemble([verdict(SECCOMP_RET_ALLOW)]), abi.numbers["seccomp"])
            )
        except KernelError as error:
            if error.errno == errno.EBUSY:
                return "this process has a supervisor of its own (nested builds)"
            return error.message
        return ""

    reason: str = Child(attempt).result()
    return reason
