"""Which handler answers which call of an ABI: the same one everywhere, or one for its own form.

socketcall(2), which some ABIs have beside or in place of the calls for sockets, has its arguments
behind a pointer.
"""

from _struct import Struct

from sundog.emulation.notify.handlers.narrow import narrow_handlers
from sundog.emulation.notify.handlers.restart import RestartHandler
from sundog.emulation.notify.seccomp.program import SYS_BIND, SYS_GETSOCKOPT
from sundog.emulation.notify.state.state import State
from sundog.emulation.notify.tracee.abi import I386_LONG_SIZE, NotifyAbi
from sundog.emulation.notify.tracee.call import CONTINUE, U32, Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.tracee.call import Arguments, Handler

# The calls of socketcall(2) that are notified, and how many arguments each has: net/socket.c.
SOCKET_CALLS = {SYS_BIND: ("bind", 3), SYS_GETSOCKOPT: ("getsockopt", 5)}
MAX_ARGUMENTS = 6


def handlers_of(abi: NotifyAbi, state: State, common: "dict[str, Handler]") -> "dict[str, Handler]":
    """Return the handlers of ``abi`` by its names of the calls.

    ``common`` are the handlers that all ABIs have.
    """
    own: dict[str, Handler] = {}
    if abi.long_size == I386_LONG_SIZE:
        own = narrow_handlers(state, common)
    own["rt_sigaction"] = RestartHandler(abi, state).rt_sigaction
    own["socketcall"] = SocketCall(abi, state, common).handle
    handlers = {}
    for name in abi.numbers:
        handler = own.get(name) or common.get(abi.call(name))
        if handler is not None:
            handlers[name] = handler
    return handlers


class SocketCall:
    """Take the arguments of a socket's call from behind the pointer."""

    def __init__(self, abi: NotifyAbi, state: State, common: "dict[str, Handler]") -> None:
        self._memory = state.memory
        code = "I" if abi.long_size == I386_LONG_SIZE else "Q"
        self._calls = {
            number: (common[name], Struct(f"={count}{code}"))
            for number, (name, count) in SOCKET_CALLS.items()
        }

    def handle(self, thread: int, args: "Arguments") -> Answer:
        """int socketcall(int call, unsigned long *args)."""
        found = self._calls.get(args[0] & U32)
        if found is None:
            return CONTINUE
        handler, form = found
        values = form.unpack(self._memory.read(thread, args[1], form.size))
        return handler(thread, values + (0,) * (MAX_ARGUMENTS - len(values)))
