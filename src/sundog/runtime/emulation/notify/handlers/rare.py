"""The handlers of calls that most containers do not make, and of other forms of the calls.

The supervisor loads them when it meets the first call without a handler.  In the wheel they are in
a joined module of their own.
"""

from __future__ import annotations

from sundog.runtime.emulation.notify.handlers.bind import BindHandlers
from sundog.runtime.emulation.notify.handlers.forms import handlers_of
from sundog.runtime.emulation.notify.handlers.keys import KeyHandlers
from sundog.runtime.emulation.notify.handlers.messages import MessageHandlers
from sundog.runtime.emulation.notify.handlers.mounts import MountHandlers
from sundog.runtime.emulation.notify.handlers.ports import PortHandlers
from sundog.runtime.emulation.notify.handlers.privileged import PrivilegedHandlers
from sundog.runtime.emulation.notify.handlers.sysv import SysvHandlers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi
    from sundog.runtime.emulation.notify.tracee.call import Handler

_ROOTLESS = (KeyHandlers, MessageHandlers, PortHandlers, PrivilegedHandlers, SysvHandlers)
_MAKING = (BindHandlers, MountHandlers)


class RareHandlers:
    """The handlers by the names of the calls.

    rootless   the names of those that name no path
    making     the names of those that may make records, or change what a page tells of them
    """

    __slots__ = ("_state", "calls", "making", "rootless")

    def __init__(self, state: State) -> None:
        self._state = state
        rootless, making = (
            {
                name: handler
                for family in families
                for name, handler in family(state).calls().items()
            }
            for families in (_ROOTLESS, _MAKING)
        )
        self.rootless, self.making = {*rootless}, {*making}
        self.calls: dict[str, Handler] = {**rootless, **making}

    def of(self, abi: NotifyAbi, common: dict[str, Handler]) -> dict[str, Handler]:
        """Return the handlers of all calls of ``abi``, by its names of the calls.

        ``common`` are those that are not rare.
        """
        return handlers_of(abi, self._state, {**common, **self.calls})
