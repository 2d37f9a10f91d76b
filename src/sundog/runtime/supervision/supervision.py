"""A container with consistent root emulation: one process supervises all others.

The supervisor shares the container's user and mount namespaces and, after pivot_root(2), its root.
It does not share the PID namespace of a RUN.  So it sees the processes under the numbers in
notifications, through the /proc that it opened before.  It starts with the records of the image's
layers about owners.  It ends with the records to write about changes.

``ch-run`` loads it only for --notify.
"""

from __future__ import annotations

import os

from sundog.base.cpython import AF_UNIX, SOCK_STREAM, socketpair
from sundog.base.kernel.namespaces import setns
from sundog.base.kernel.numbers import process_abi
from sundog.base.record.guesses import OWNERS_KNOWN, OWNERS_LISTED, open_guesses
from sundog.base.record.links import read_links
from sundog.base.record.owners import OwnersManifest, read_owners
from sundog.runtime.container.enter import rootless
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
from sundog.runtime.emulation.notify.state.guesses import GuessedLayer
from sundog.runtime.emulation.notify.state.lower import LowerRecords, OpenedLayer
from sundog.runtime.emulation.notify.state.persist import merged_manifest
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.emulation.notify.tracee.tag import wear_tag
from sundog.runtime.supervision.emulation import OpenFiles
from sundog.runtime.supervision.membership import Membership, pack_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.record.identity import Identity
    from sundog.base.record.layer_path import LayerPath
    from sundog.runtime.container.mounted_tree import MountedTree
    from sundog.runtime.emulation.notify.state.records import Records
    from sundog.runtime.emulation.notify.state.unrecorded_owners import AllIsReal
    from sundog.runtime.supervision.emulation import Emulation
    from sundog.runtime.supervision.supervised import Supervised


_READABLE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def _opened_layers(layers: Sequence[LayerPath]) -> list[OpenedLayer]:
    """Return the ``layers``, with their trees open.  Raises OSError."""
    return [
        OpenedLayer(
            os.open(layer.tree, _READABLE),
            read_owners(layer.owners),
            read_links(layer.links) if layer.links else None,
        )
        for layer in layers
    ]


def _mounted_manifest(mounted: MountedTree) -> OwnersManifest:
    """Return the records of a mount; paths are relative to the mount.  Raises OSError."""
    if not mounted.layers:
        return mounted.owners
    layers = _opened_layers(mounted.layers)
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


def _guessed_layers(
    layers: Sequence[LayerPath], opened: Sequence[OpenedLayer]
) -> list[GuessedLayer]:
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


def hold_answering() -> None:
    """Let ``Supervision.answer`` find what it is made of when the root is another."""
    from sundog.runtime.emulation.notify.handlers import rare  # noqa: F401, PLC0415
    from sundog.runtime.supervision import answering  # noqa: F401, PLC0415


class Supervision:
    """A supervisor, from the files that it has open when it begins to its results.

    proc    a descriptor of the host's /proc
    theirs  the descriptor through which the command passes its listener; -1 without a ``channel``
    strict  as for ``Emulation``
    """

    __slots__ = ("_emulation", "_files", "_kept", "_ours", "proc", "strict", "theirs")

    def __init__(
        self,
        proc: int,
        emulation: Emulation,
        layers: Sequence[OpenedLayer] = (),
        shown: OwnersManifest | None = None,
        *,
        changes: int = -1,
        upper: int = -1,
        mounted: Sequence[tuple[bytes, OwnersManifest, int]] = (),
        guessed: Sequence[GuessedLayer] = (),
        channel: tuple[int, int] = (-1, -1),
        kept: Sequence[int] = (),
        records: Records | None = None,
        unrecorded_owners: AllIsReal | None = None,
    ) -> None:
        """Take what is open of the files that ``emulation`` names.  Raises OSError.

        layers      the layers, if they have records; it reads them now
        shown       records of files that the container shows, beside those of layers
        changes     a descriptor of the directory that gets the container's changes, or -1
        upper       a descriptor of the overlay's upper directory if ``changes`` is -1; or -1
        mounted     the records of the container's mounts: place, records, directory or -1
        guessed     the layers, if they have guessed owners
        channel     a ``listener_channel``, unless ``answer`` gets another source
        kept        further descriptors that the supervisor needs
        records, unrecorded_owners
                    as for ``State``
        """
        may_change = changes >= 0 or upper >= 0
        self.proc = proc
        self.strict = emulation.strict
        self._emulation = emulation
        self._files = OpenFiles(
            proc,
            LowerRecords(layers, shown, is_stable=emulation.is_stable, may_change=may_change),
            changes=changes,
            upper=upper,
            mounted=mounted,
            guessed=guessed,
            records=records,
            unrecorded_owners=unrecorded_owners,
        )
        self._ours, self.theirs = channel
        self._kept = kept

    def descriptors(self) -> list[int]:
        """Return the open descriptors that the supervisor needs."""
        return [fd for fd in (self._ours, *self._kept, *self._files.descriptors()) if fd >= 0]

    def install(
        self,
        who: Identity | None,
        *,
        fake_sync: bool = False,
        namespaces: Sequence[int] = (),
        page: int = -1,
    ) -> None:
        """Put the calling process, the future command, under the filter, and pass the listener on.

        ``who`` is the identity of the command; None is root.  With ``fake_sync``, the filter
        answers fsync(2) and its family "done".  The supervisor joins the ``namespaces``
        (descriptors) that are not its own, and writes the ``page`` of the fast path, if it is not
        -1.  Raises KernelError, with EBUSY if there is a supervisor further up.
        """
        index = _entered(Tags(superuser(all_capabilities())), who)
        if index:
            wear_tag(index)
        has_page, has_ports = page >= 0, self._emulation.has_ports
        listener = _filtered(
            strict=self.strict, fake_sync=fake_sync, has_ports=has_ports, fast_path=has_page
        )
        passed_on = (listener, page) if has_page else (listener,)
        try:
            send_descriptors(self.theirs, (*passed_on, *namespaces))
        finally:  # with a listener of its own, and no supervisor, this process would wait for ever
            for fd in (*passed_on, self.theirs):
                os.close(fd)

    def supervise(
        self,
        who: Identity | None,
        tell: Callable[[str], None] | None = None,
        before_mount: Callable[[], None] | None = None,
        *,
        has_page: bool = False,
    ) -> Supervised | None:
        """Answer the command of ``install`` until the container is empty; return the results.

        ``who`` and ``tell`` are as for ``answer``.  ``before_mount`` is for ``Listener``.  The
        caller has closed ``theirs``.  ``has_page`` tells that ``install`` has a page.  Returns None
        if the command never started.
        """
        received = receive_descriptors(self._ours)
        os.close(self._ours)
        if not received:
            return None
        listener, *namespaces = received
        page = namespaces.pop(0) if has_page else -1
        for namespace in namespaces:
            setns(namespace, 0)
            os.close(namespace)
        tags = Tags(superuser(all_capabilities()))
        _entered(tags, who)
        return self.answer(Listener(listener, before_mount), tags, who, tell, page)

    def answer(
        self,
        source: NotificationSource,
        tags: Tags,
        who: Identity | None = None,
        tell: Callable[[str], None] | None = None,
        page: int = -1,
    ) -> Supervised:
        """Answer the calls of ``source`` until the container is empty; return the results.

        This process is in the container.  ``tags`` has the identities with which commands begin.
        ``who`` starts the container; None is root.  ``tell`` gets what users should know at once;
        without it, the results have these lines.  ``page`` is a descriptor of the page of the fast
        path, or -1; this method closes it.
        """
        from sundog.runtime.supervision.answering import answered  # noqa: PLC0415

        return answered(self._emulation, self._files, source, tags, who=who, tell=tell, page=page)


def listener_channel() -> tuple[int, int]:
    """Return the two ends through which a command passes its listener: the supervisor's first."""
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    return ours.detach(), theirs.detach()


def opened_supervision(emulation: Emulation, upper: int = -1) -> Supervision:
    """Open the files of the host that a supervisor needs, before the root hides them.

    Call it as mock root, who may look into every directory.  ``upper`` is a descriptor of the
    overlay's upper directory, if the container's changes are discarded.  Raises OSError and
    KernelError.
    """
    hold_answering()
    layers = _opened_layers(emulation.layers)
    mounted = [
        (each.destination, _mounted_manifest(each), rootless(each.tree) if each.tree else -1)
        for each in emulation.mounted
    ]
    supervision = Supervision(
        rootless(b"/proc"),
        emulation,
        layers,
        changes=-1 if emulation.changes is None else rootless(emulation.changes),
        upper=upper,
        mounted=mounted,
        guessed=_guessed_layers(emulation.layers, layers),
        channel=listener_channel(),
    )
    for layer in layers:
        os.close(layer.tree)
    return supervision


def _filtered(
    *, strict: bool, fake_sync: bool = False, has_ports: bool = False, fast_path: bool = False
) -> int:
    """Put the calling process under the filter; return the listener.  Raises KernelError."""
    abi = NOTIFY_ABIS[process_abi()]
    program = notify_program(
        abi, fake_sync=fake_sync, strict=strict, has_ports=has_ports, fast_path=fast_path
    )
    return install_listener(program, abi.numbers["seccomp"])


def _entered(tags: Tags, who: Identity | None) -> int:
    """Return the index in the fresh ``tags`` of the credentials of ``who``; None is root."""
    return 0 if who is None else tags.enter(first_credentials(who.uid, who.gid, who.groups))


def first_credentials(uid: int, gid: int, groups: tuple[int, ...]) -> Credentials:
    """Return the credentials of a command that starts as a user of the image."""
    return user_credentials(uid, gid, groups, all_capabilities())


def install_in_group(member: Membership, who: Identity | None) -> None:
    """Put the calling process under the filter of its group; pass the listener on.

    ``who`` is the identity of the command; None is root.  Raises KernelError, and OSError if the
    supervisor has died.
    """
    command = pack_start(os.getpid(), who)
    listener = _filtered(strict=member.strict, fast_path=member.has_page)
    try:
        member.pass_on(listener, command)
    finally:  # as in ``install``
        os.close(listener)
