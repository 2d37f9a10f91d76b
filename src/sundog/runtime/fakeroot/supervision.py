"""The supervisor of a command on the host's own directories."""

import os

from sundog.base.kernel.numbers import process_abi
from sundog.runtime.container.enter import forbid_imports, rootless
from sundog.runtime.emulation.notify.state.lower import LowerRecords
from sundog.runtime.emulation.notify.state.persistent_records import PersistentRecords
from sundog.runtime.emulation.notify.state.state import State
from sundog.runtime.emulation.notify.state.unrecorded_owners import AllIsReal
from sundog.runtime.emulation.notify.supervisor import Supervisor
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.supervision.supervision import Start, Supervised, Supervision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.record.identity import Identity
    from sundog.runtime.emulation.notify.identity.tags import Tags
    from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource
    from sundog.runtime.fakeroot.real_owners import RealOwners


class HostSupervision(Supervision):
    """A supervisor that shares the host's root directory with the command.

    ``persistent`` has the records of a state file, None without one.  ``real_owners`` knows the
    owners of files without a record; None: root owns them.  Make it in the command's namespaces.
    """

    __slots__ = ("_persistent", "_real_owners", "_unrecorded_owners")

    def __init__(
        self,
        persistent: PersistentRecords | None,
        real_owners: "RealOwners | None",
        uid: int,
        gid: int,
    ) -> None:
        nothing = LowerRecords((), is_stable=False, may_change=False)
        start = Start(nothing, (), -1, -1, strict=False)
        super().__init__(rootless(b"/proc"), start)
        self._persistent = persistent
        self._real_owners = real_owners
        self._unrecorded_owners = (
            None if real_owners is None else AllIsReal(uid, gid, real_owners.ask)
        )

    def descriptors(self) -> list[int]:
        """Return the open descriptors that the supervisor needs."""
        more = [] if self._real_owners is None else [self._real_owners.channel]
        return [*super().descriptors(), *more]

    def answer(
        self,
        source: "NotificationSource",
        tags: "Tags",
        who: "Identity | None",  # noqa: ARG002 - there are no volumes
        tell: "Callable[[str], None] | None" = None,  # noqa: ARG002 - there is no image
    ) -> Supervised:
        """Answer the calls of ``source`` until no process is left; return the results.

        The persistent records are then up to date.
        """
        forbid_imports()
        os.fchdir(self.proc)
        abi = NOTIFY_ABIS[process_abi()]
        state = State(
            abi, source, tags, records=self._persistent, unrecorded_owners=self._unrecorded_owners
        )
        incidents: list[str] = []
        statistics = Supervisor(state, incidents.append).serve()
        return Supervised({}, statistics.lines(), incidents, statistics.incidents, [])
