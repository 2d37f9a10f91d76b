"""A container with consistent root emulation: one process supervises all others.

The supervisor shares the container's user and mount namespaces and, after pivot_root(2), its root.
It does not share the PID namespace of a RUN.  So it sees the processes under the numbers in
notifications, through the /proc that it opened before.  It starts with the records of the image's
layers about owners.  It ends with the records to write about changes.

``ch-run`` loads it only for --notify.
"""

import os

from sundog.base.cpython import AF_UNIX, SOCK_STREAM, socketpair
from sundog.base.kernel.namespaces import setns
from sundog.base.kernel.numbers import process_abi
from sundog.base.record.guesses import OWNERS_KNOWN, OWNERS_LISTED, open_guesses
from sundog.base.record.links import read_links
from sundog.base.record.owners import OwnersManifest, pack_owners, read_owners, unpack_owners
from sundog.base.wire.outcomes import NO_OUTCOME
from sundog.errors import SundogError
from sundog.runtime.container.enter import forbid_imports, rootless
from sundog.runtime.container.mounted_tree import MountedTree
from sundog.runtime.emulation.notify.identity.capabilities import all_capabilities
from sundog.runtime.emulation.notify.identity.credentials import (
    Credentials,
    superuser,
    user_credentials,
)
from sundog.runtime.emulation.notify.identity.tags import Tags
from sundog.runtime.emulation.notify.seccomp.listener import (
    Listener,
    NotificationSource,
    install_listener,
    receive_descriptors,
    send_descriptors,
)
from sundog.runtime.emulation.notify.seccomp.program import notify_program
from sundog.runtime.emulation.notify.state.guesses import GuessedLayer, OwnerGuesses
from sundog.runtime.emulation.notify.state.lower import LowerRecords, OpenedLayer
from sundog.runtime.emulation.notify.state.persist import (
    collect_manifest,
    collect_tree,
    load_mounted,
    merged_manifest,
)
from sundog.runtime.emulation.notify.state.pins import Pins
from sundog.runtime.emulation.notify.state.state import State
from sundog.runtime.emulation.notify.supervisor import Supervisor
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.emulation.notify.tracee.tag import wear_tag
from sundog.runtime.supervision.membership import Membership, pack_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.record.identity import Identity
    from sundog.base.record.layer_path import LayerPath
    from sundog.runtime.emulation.notify.state.volumes import VolumePlace


READABLE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def opened_layers(layers: "Sequence[LayerPath]") -> "list[OpenedLayer]":
    """Return the ``layers``, with their trees open.  Raises OSError."""
    return [
        OpenedLayer(
            os.open(layer.tree, READABLE),
            read_owners(layer.owners),
            read_links(layer.links) if layer.links else None,
        )
        for layer in layers
    ]


def mounted_manifest(mounted: MountedTree) -> OwnersManifest:
    """Return the records of a mount; paths are relative to the mount.  Raises OSError."""
    if not mounted.layers:
        return mounted.owners
    layers = opened_layers(mounted.layers)
    merged = merged_manifest([(layer.tree, layer.manifest) for layer in layers])
    for layer in layers:
        os.close(layer.tree)
    if not mounted.path:
        return merged
    inside = mounted.path + b"/"
    found = {
        path[len(inside) :]: entry for path, entry in merged.items() if path.startswith(inside)
    }
    if mounted.path in merged:
        found[b""] = merged[mounted.path]
    return found


def guessed_layers(
    layers: "Sequence[LayerPath]", opened: "Sequence[OpenedLayer]"
) -> "list[GuessedLayer]":
    """Return the ``layers``, which are ``opened``, if there are guessed owners in them; else [].

    Call it as mock root.  Raises OSError and KernelError.
    """
    if all(layer.guesses == OWNERS_KNOWN for layer in layers):
        return []
    return [
        GuessedLayer(
            rootless(layer.tree, writable=False),
            opened.manifest,
            layer.guesses,
            open_guesses(layer.tree) if layer.guesses == OWNERS_LISTED else -1,
        )
        for layer, opened in zip(layers, opened, strict=True)
    ]


class Emulation:
    """The initial data of a supervised container: a plain value.

    layers      topmost first, as they are mounted
    changes     the directory that gets the container's changes; None: they are discarded
    is_stable   the container sees the same inodes as the layers have, and they are never freed
    mounted     the mounts in it
    strict      whether opening files obeys all permissions of the emulated identity
    is_lost     whether the image has lost which of its files have guessed owners
    volumes     see ``state.volumes``
    """

    __slots__ = ("changes", "is_lost", "is_stable", "layers", "mounted", "strict", "volumes")

    def __init__(
        self,
        layers: "Sequence[LayerPath]",
        changes: bytes | None,
        *,
        is_stable: bool,
        mounted: "Sequence[MountedTree]" = (),
        strict: bool = False,
        is_lost: bool = False,
        volumes: "Sequence[VolumePlace]" = (),
    ) -> None:
        self.layers = layers
        self.changes = changes
        self.is_stable = is_stable
        self.mounted = mounted
        self.strict = strict
        self.is_lost = is_lost
        self.volumes = volumes

    def open(self) -> "OpenedEmulation":
        """Open the records of the layers, before the container's root hides them."""
        return OpenedEmulation(self)


class OpenedEmulation:
    """The files of the host that a supervisor has opened."""

    __slots__ = ("_emulation", "_layers")

    def __init__(self, emulation: Emulation) -> None:
        """Open the files.  Raises OSError."""
        self._emulation = emulation
        self._layers = opened_layers(emulation.layers)

    def merge(self, upper: int = -1) -> "Supervision":
        """Merge the records of the layers, as mock root, who may look into every directory.

        Also opens the other files of the host that the supervisor needs.  ``upper`` is a descriptor
        of the overlay's upper directory, if the container's changes are discarded.
        """
        emulation = self._emulation
        lower = LowerRecords(
            self._layers,
            is_stable=emulation.is_stable,
            may_change=emulation.changes is not None or upper >= 0,
        )
        mounted = [
            (
                each.destination,
                mounted_manifest(each),
                rootless(each.tree) if each.tree else -1,
            )
            for each in emulation.mounted
        ]
        guessed = guessed_layers(emulation.layers, self._layers)
        for layer in self._layers:
            os.close(layer.tree)
        changes = -1 if emulation.changes is None else rootless(emulation.changes)
        start = Start(
            lower,
            mounted,
            changes,
            upper,
            strict=emulation.strict,
            guessed=guessed,
            is_lost=emulation.is_lost,
            volumes=emulation.volumes,
        )
        return Supervision(rootless(b"/proc"), start)


class Start:
    """The data and descriptors that a supervisor has when it begins.

    lower       the records of the layers
    mounted     the records of the container's mounts: place, records, directory or -1
    changes     a descriptor of the directory that gets the container's changes, or -1
    upper       a descriptor of the overlay's upper directory if ``changes`` is -1; or -1
    strict, is_lost, volumes
                as for ``Emulation``
    guessed     the layers, if they have guessed owners
    """

    __slots__ = (
        *("changes", "guessed", "is_lost", "lower", "mounted", "strict", "upper", "volumes"),
    )

    def __init__(
        self,
        lower: LowerRecords,
        mounted: "Sequence[tuple[bytes, OwnersManifest, int]]",
        changes: int,
        upper: int,
        *,
        strict: bool,
        guessed: "Sequence[GuessedLayer]" = (),
        is_lost: bool = False,
        volumes: "Sequence[VolumePlace]" = (),
    ) -> None:
        self.lower = lower
        self.mounted = mounted
        self.changes = changes
        self.upper = upper
        self.strict = strict
        self.guessed = guessed
        self.is_lost = is_lost
        self.volumes = volumes


class Supervision:
    """A supervisor and a command before a socket connects them.

    proc    the host's /proc
    theirs  the descriptor through which the command passes its listener
    """

    __slots__ = ("_ours", "_start", "proc", "theirs")

    def __init__(self, proc: int, start: Start) -> None:
        self.proc = proc
        self._start = start
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self._ours, self.theirs = ours.detach(), theirs.detach()

    def descriptors(self) -> "list[int]":
        """Return the open descriptors that the supervisor needs."""
        start = self._start
        own = [self.proc, self._ours, start.changes, start.upper]
        own += [tree for _, _, tree in start.mounted]
        own += [fd for layer in start.guessed for fd in (layer.tree, layer.list_fd)]
        return [fd for fd in own if fd >= 0]

    @property
    def strict(self) -> bool:
        """Tell whether opening files obeys all permissions of the emulated identity."""
        return self._start.strict

    def install(
        self,
        who: "Identity | None",
        *,
        fake_sync: bool = False,
        namespaces: "Sequence[int]" = (),
    ) -> None:
        """Put the calling process, the future command, under the filter, and pass the listener on.

        ``who`` is the identity of the command; None is root.  With ``fake_sync``, the filter
        answers fsync(2) and its family "done".  The supervisor joins the ``namespaces``
        (descriptors) that are not its own.  Raises KernelError, with EBUSY if there is a supervisor
        further up.
        """
        abi = NOTIFY_ABIS[process_abi()]
        index = entered(Tags(superuser(all_capabilities())), who)
        if index:
            wear_tag(index)
        program = notify_program(abi, fake_sync=fake_sync, strict=self.strict)
        listener = install_listener(program, abi.numbers["seccomp"])
        send_descriptors(self.theirs, (listener, *namespaces))
        os.close(listener)
        os.close(self.theirs)

    def supervise(
        self,
        who: "Identity | None",
        tell: "Callable[[str], None] | None" = None,
        before_mount: "Callable[[], None] | None" = None,
    ) -> "Supervised | None":
        """Answer until the container is empty; return the results.

        ``who`` is as for ``install``.  ``tell`` gets what users should know at once; without it,
        the results have these lines.  ``before_mount`` is for ``Listener``.  The caller has closed
        ``theirs``.  Returns None if the command never started.
        """
        received = receive_descriptors(self._ours)
        os.close(self._ours)
        if not received:
            return None
        listener, *namespaces = received
        for namespace in namespaces:
            setns(namespace, 0)
            os.close(namespace)
        tags = Tags(superuser(all_capabilities()))
        entered(tags, who)
        return self.answer(Listener(listener, before_mount), tags, who, tell)

    def answer(
        self,
        source: NotificationSource,
        tags: Tags,
        who: "Identity | None",
        tell: "Callable[[str], None] | None" = None,
    ) -> "Supervised":
        """Answer the calls of ``source``: see ``answer_calls``."""
        return answer_calls(self.proc, self._start, source, tags, who=who, tell=tell)


def answer_calls(
    proc: int,
    start: Start,
    source: NotificationSource,
    tags: Tags,
    *,
    who: "Identity | None" = None,
    tell: "Callable[[str], None] | None" = None,
) -> "Supervised":
    """Answer the calls of ``source`` until the container is empty; return the results.

    This process is in the container.  ``proc`` is the host's /proc.  ``tags`` has the identities
    with which commands begin.  ``who`` starts the container, and ``tell`` is as for
    ``Supervision.supervise``.
    """
    forbid_imports()
    os.fchdir(proc)
    hints: list[str] = []
    guesses = None
    if start.guessed or start.is_lost:
        guesses = OwnerGuesses(start.guessed, tell or hints.append, is_lost=start.is_lost)
    abi = NOTIFY_ABIS[process_abi()]
    state = State(
        abi,
        source,
        tags,
        places=start.volumes,
        owner=(0, 0) if who is None else (who.uid, who.gid),
        guesses=guesses,
        strict=start.strict,
    )
    if start.lower.is_stable:
        state.records.pins = Pins(start.upper if start.changes < 0 else start.changes)
    if not start.lower.is_empty():
        start.lower.load(state)
    for destination, manifest, _ in start.mounted:
        load_mounted(state, destination, manifest)
    incidents: list[str] = []
    statistics = Supervisor(state, incidents.append).serve()
    return Supervised(
        {} if start.changes < 0 else collect_manifest(state, start.changes),
        statistics.lines(),
        incidents,
        statistics.incidents,
        [{} if tree < 0 else collect_tree(state, tree) for _, _, tree in start.mounted],
        hints=hints,
    )


def entered(tags: Tags, who: "Identity | None") -> int:
    """Return the index in the fresh ``tags`` of the credentials of ``who``; None is root."""
    return 0 if who is None else tags.enter(first_credentials(who.uid, who.gid, who.groups))


def first_credentials(uid: int, gid: int, groups: tuple[int, ...]) -> Credentials:
    """Return the credentials of a command that starts as a user of the image."""
    return user_credentials(uid, gid, groups, all_capabilities())


def install_in_group(member: Membership, who: "Identity | None") -> None:
    """Put the calling process under the filter of its group; pass the listener on.

    ``who`` is the identity of the command; None is root.  Raises KernelError, and OSError if the
    supervisor has died.
    """
    abi = NOTIFY_ABIS[process_abi()]
    program = notify_program(abi, strict=member.strict)
    command = pack_start(os.getpid(), who)
    listener = install_listener(program, abi.numbers["seccomp"])
    member.pass_on(listener, command)
    os.close(listener)


class Supervised:
    """The results of a supervised step.

    owners      the records for its layer, about the paths in the layer
    statistics  for people
    incidents   the first calls that the supervisor failed to answer, and left to the kernel
    failures    the number of all such calls
    mounted     the records for each mount whose changes must be reported
    hints       what users should know of refusals
    """

    __slots__ = ("failures", "hints", "incidents", "mounted", "owners", "statistics")

    def __init__(
        self,
        owners: OwnersManifest,
        statistics: list[str],
        incidents: list[str],
        failures: int,
        mounted: list[OwnersManifest],
        *,
        hints: "Sequence[str]" = (),
    ) -> None:
        self.owners = owners
        self.statistics = statistics
        self.incidents = incidents
        self.failures = failures
        self.mounted = mounted
        self.hints = hints

    def pack(self) -> "tuple[object, ...]":
        """Return the results as plain values, for another process."""
        mounted = [pack_owners(owners) for owners in self.mounted]
        told = self.statistics, self.incidents, self.failures, mounted, list(self.hints)
        return pack_owners(self.owners), *told

    @classmethod
    def unpack(cls, value: object) -> "Supervised":
        """Return the results in a ``value`` of ``pack``.  Raises SundogError for anything else."""
        try:
            match value:
                case (
                    bytes(owners),
                    list(statistics),
                    list(incidents),
                    int(failures),
                    list(mounted),
                    list(hints),
                ):
                    return cls(
                        unpack_owners(owners),
                        [str(line) for line in statistics],
                        [str(line) for line in incidents],
                        failures,
                        [unpack_owners(packed) for packed in mounted],
                        hints=[str(line) for line in hints],
                    )
        except (TypeError, AttributeError, ValueError):
            pass
        raise SundogError(NO_OUTCOME)
