"""The answers of a supervisor: all that only its own process needs.

In the wheel it is a joined module of its own.  ``hold_answering`` reads it while the host's files
can be found.  The process of the supervisor alone loads it, so that its siblings stay small.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.numbers import process_abi
from sundog.runtime.container.enter import forbid_imports
from sundog.runtime.emulation.notify.seccomp.fast_path import LIBRARY_PLACE, PAGE_PLACE
from sundog.runtime.emulation.notify.state.guesses import OwnerGuesses
from sundog.runtime.emulation.notify.state.low_ports import LowPorts
from sundog.runtime.emulation.notify.state.lower import load_lower
from sundog.runtime.emulation.notify.state.page import SharedPage
from sundog.runtime.emulation.notify.state.persist import (
    collect_manifest,
    collect_tree,
    load_mounted,
)
from sundog.runtime.emulation.notify.state.pins import Pins
from sundog.runtime.emulation.notify.state.state import State
from sundog.runtime.emulation.notify.supervisor import Supervisor
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.supervision.supervised import Supervised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.record.identity import Identity
    from sundog.base.record.owners import OwnersManifest
    from sundog.runtime.container.mounted_tree import MountedTree
    from sundog.runtime.emulation.notify.identity.tags import Tags
    from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource
    from sundog.runtime.supervision.emulation import Emulation, OpenFiles


def answered(
    emulation: Emulation,
    files: OpenFiles,
    source: NotificationSource,
    tags: Tags,
    *,
    who: Identity | None,
    tell: Callable[[str], None] | None,
    page: int,
) -> Supervised:
    """Answer the calls of ``source`` until the container is empty; return the results.

    ``page`` is a descriptor of the page of the fast path, or -1; this function closes it.  The
    other parameters are as for ``Supervision``.
    """
    forbid_imports()
    os.fchdir(files.proc)
    lower, changes = files.lower, files.changes
    hints: list[str] = []
    guesses = None
    if files.guessed or emulation.is_lost:
        guesses = OwnerGuesses(files.guessed, tell or hints.append, is_lost=emulation.is_lost)
    shared = None
    if page >= 0:
        with Closing(page):
            shared = SharedPage(page, PAGE_PLACE - LIBRARY_PLACE)
    state = State(
        NOTIFY_ABIS[process_abi()],
        source,
        tags,
        records=files.records,
        unrecorded_owners=files.unrecorded_owners,
        places=emulation.volumes,
        owner=(0, 0) if who is None else (who.uid, who.gid),
        guesses=guesses,
        low_ports=LowPorts() if emulation.has_ports else None,
        strict=emulation.strict,
        page=shared,
    )
    if lower.is_stable:
        upper = files.upper if changes < 0 else changes
        # An upper directory that keeps no changes is on a tmpfs of the container's own.
        state.records.pins = Pins(upper, is_apart=changes < 0 <= upper)
    if not lower.is_empty():
        load_lower(lower, state)
    for destination, manifest, _ in files.mounted:
        load_mounted(state, destination, manifest)
    incidents: list[str] = []
    statistics = Supervisor(state, incidents.append).serve()
    return Supervised(
        {} if changes < 0 else collect_manifest(state, changes),
        statistics.lines(),
        incidents,
        statistics.incidents,
        [
            _collected(state, mounted, tree)
            for mounted, (_, _, tree) in zip(emulation.mounted, files.mounted, strict=True)
        ],
        hints=hints,
        refusals=state.refusals.told(),
    )


def _collected(state: State, mounted: MountedTree, tree: int) -> OwnersManifest:
    """Return the records of the changes in ``mounted``, whose ``tree`` is a descriptor, or -1."""
    if tree < 0:
        return {}
    if mounted.is_upper:
        return collect_manifest(state, tree, mounted.destination)
    return collect_tree(state, tree)
