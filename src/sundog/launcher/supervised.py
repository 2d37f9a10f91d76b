"""A container whose root emulation keeps its word: one process supervises all the others.

The supervisor shares the container's user and mount namespaces and, after pivot_root(2), its root,
but not the PID namespace that a RUN has: so it sees the processes under the numbers that
notifications carry, through the /proc that it opened before.  It starts with what the layers of the
image record about owners, and ends with what is to be recorded about what changed.

Floor 0.  ``ch-run`` loads it for --notify only.
"""

import os
from _socket import AF_UNIX, SOCK_STREAM, socketpair

from sundog.emulation.notify.abi import NOTIFY_ABIS
from sundog.emulation.notify.capabilities import all_capabilities
from sundog.emulation.notify.credentials import superuser, user_credentials
from sundog.emulation.notify.listener import (
    Listener,
    install_listener,
    receive_descriptors,
    send_descriptors,
)
from sundog.emulation.notify.persist import (
    collect_manifest,
    collect_tree,
    linked_paths,
    load_mounted,
    load_records,
    merged_manifest,
)
from sundog.emulation.notify.pins import Pins
from sundog.emulation.notify.program import notify_program
from sundog.emulation.notify.state import State
from sundog.emulation.notify.supervisor import Supervisor
from sundog.emulation.notify.tags import Tags, wear_tag
from sundog.errors import SundogError
from sundog.kernel.namespaces import setns
from sundog.kernel.numbers import process_abi
from sundog.launcher.enter import copy_tree, forbid_imports
from sundog.launcher.recorded import MountedTree, Recorded
from sundog.record.owners import OwnersManifest, pack_owners, read_owners, unpack_owners
from sundog.wire.outcomes import NO_OUTCOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.record.identity import Identity


def opened_layers(layers: "Sequence[Recorded]") -> "list[tuple[int, OwnersManifest]]":
    """Return the trees, open, and the manifests of ``layers``.  Raises OSError."""
    directory = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return [(os.open(layer.tree, directory), read_owners(layer.owners)) for layer in layers]


def mounted_manifest(mounted: MountedTree) -> OwnersManifest:
    """Return the records of what is mounted, paths from there on.  Raises OSError."""
    if not mounted.layers:
        return mounted.owners
    merged = merged_manifest(opened_layers(mounted.layers))
    if not mounted.path:
        return merged
    inside = mounted.path + b"/"
    found = {
        path[len(inside) :]: entry for path, entry in merged.items() if path.startswith(inside)
    }
    if mounted.path in merged:
        found[b""] = merged[mounted.path]
    return found


def rootless(path: bytes) -> int:
    """Return the open directory ``path``, from which ".." leads nowhere.

    The supervisor has it while it looks up names that programs of the image have made up.  Raises
    KernelError.
    """
    tree = copy_tree(path, writable=True)
    try:
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)


class Emulation:
    """A supervised container: what it starts from, and, afterwards, what it did.

    layers      topmost first, as they are mounted
    changes     the directory that comes to hold what the container changes; None: it all goes
    is_stable   the inodes of the layers are those that the container sees, and are never freed
    identity    who the command is at first; None: root
    upper       a descriptor of the overlay's upper directory, if ``changes`` is none; or -1
    mounted     what is mounted in it
    theirs      the descriptor through which the command passes the listener on, once prepared
    """

    __slots__ = (
        "_changes",
        "_linked",
        "_manifest",
        "_mounted",
        "_ours",
        "_trees",
        "changes",
        "identity",
        "is_stable",
        "layers",
        "mounted",
        "proc",
        "theirs",
        "upper",
    )

    def __init__(
        self, layers: "Sequence[Recorded]", changes: bytes | None, *, is_stable: bool
    ) -> None:
        self.layers = layers
        self.changes = changes
        self.is_stable = is_stable
        self.identity: Identity | None = None
        self.upper = -1
        self.mounted: Sequence[MountedTree] = ()

    def prepare(self) -> None:
        """Open what the layers record, before the container's root hides it."""
        self._trees = opened_layers(self.layers)
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self._ours, self.theirs = ours.detach(), theirs.detach()

    def merge(self) -> None:
        """Put together what the layers record, as mock root, who may look into every directory.

        And open what else the supervisor needs of the host.  ``proc`` is then the host's /proc.
        """
        self.proc = rootless(b"/proc")
        self._changes = -1 if self.changes is None else rootless(self.changes)
        self._manifest = merged_manifest(self._trees)
        self._mounted = [
            (
                each.destination,
                mounted_manifest(each),
                rootless(each.tree) if each.tree else -1,
            )
            for each in self.mounted
        ]
        self._linked = linked_paths(self._trees, self._manifest) if self.is_stable else frozenset()
        for tree, _ in self._trees:
            os.close(tree)

    def install(self, *, fake_sync: bool = False, namespaces: "Sequence[int]" = ()) -> None:
        """Put the calling process, the command to be, under the filter, and pass the listener on.

        With ``fake_sync`` that answers fsync(2) and its family "done".  The supervisor joins the
        ``namespaces``, given as descriptors, where they are not its own.  Raises KernelError, with
        EBUSY where another supervisor is further up.
        """
        abi = NOTIFY_ABIS[process_abi()]
        index = self._index_in(Tags(superuser(all_capabilities())))
        if index:
            wear_tag(index)
        program = notify_program(abi, fake_sync=fake_sync, follow_names=bool(self._linked))
        listener = install_listener(program, abi.numbers["seccomp"])
        send_descriptors(self.theirs, (listener, *namespaces))
        os.close(listener)
        os.close(self.theirs)

    def _index_in(self, tags: Tags) -> int:
        """Return the index of the command's first credentials in ``tags``, which are fresh."""
        who = self.identity
        if who is None:
            return 0
        return tags.enter(user_credentials(who.uid, who.gid, who.groups, all_capabilities()))

    def descriptors(self) -> "list[int]":
        """Return what the supervisor needs of what has been opened before."""
        trees = [tree for _, _, tree in self._mounted]
        return [fd for fd in (self.proc, self._ours, self._changes, self.upper, *trees) if fd >= 0]

    def supervise(self) -> "Supervised | None":
        """Answer until the container is empty; return what came of it.

        None if the command never came to be.
        """
        received = receive_descriptors(self._ours)
        os.close(self._ours)
        if not received:
            return None
        forbid_imports()
        listener, *namespaces = received
        for namespace in namespaces:
            setns(namespace, 0)
            os.close(namespace)
        os.fchdir(self.proc)
        abi = NOTIFY_ABIS[process_abi()]
        state = State(abi, Listener(listener), superuser(all_capabilities()))
        self._index_in(state.tags)
        if self.is_stable:
            state.records.pins = Pins(self.upper if self._changes < 0 else self._changes)
        if self._manifest:
            load_records(state, self._manifest, is_stable=self.is_stable, linked=self._linked)
        for destination, manifest, _ in self._mounted:
            load_mounted(state, destination, manifest)
        incidents: list[str] = []
        statistics = Supervisor(state, incidents.append).serve()
        owners = {} if self._changes < 0 else collect_manifest(state, self._changes)
        supervised = Supervised(owners, statistics.lines(), incidents, statistics.incidents)
        supervised.mounted = [
            {} if tree < 0 else collect_tree(state, tree) for _, _, tree in self._mounted
        ]
        return supervised


class Supervised:
    """What came of a supervised step.

    owners      what its layer has to record about the paths that it holds
    statistics  for people
    incidents   the first of the calls that the supervisor failed to answer, and left to the kernel
    failures    how many those were in all
    mounted     what there is now to record of each mount of which that was to be told
    """

    __slots__ = ("failures", "incidents", "mounted", "owners", "statistics")

    def __init__(
        self, owners: OwnersManifest, statistics: list[str], incidents: list[str], failures: int
    ) -> None:
        self.owners = owners
        self.statistics = statistics
        self.incidents = incidents
        self.failures = failures
        self.mounted: list[OwnersManifest] = []

    def pack(self) -> "tuple[object, ...]":
        """Return it as plain values, for another process."""
        mounted = [pack_owners(owners) for owners in self.mounted]
        return pack_owners(self.owners), self.statistics, self.incidents, self.failures, mounted

    @classmethod
    def unpack(cls, value: object) -> "Supervised":
        """Return what ``pack`` made a ``value`` of.  Raises SundogError on anything else."""
        try:
            match value:
                case (
                    bytes(owners),
                    list(statistics),
                    list(incidents),
                    int(failures),
                    list(mounted),
                ):
                    supervised = cls(
                        unpack_owners(owners),
                        [str(line) for line in statistics],
                        [str(line) for line in incidents],
                        failures,
                    )
                    supervised.mounted = [unpack_owners(packed) for packed in mounted]
                    return supervised
        except (TypeError, AttributeError, ValueError):
            pass
        raise SundogError(NO_OUTCOME)
