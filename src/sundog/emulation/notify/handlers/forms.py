"""Which handler answers which call of an ABI: the same one everywhere, or one for its own form.

socketcall(2), which some ABIs have beside or in place of the calls for sockets, has its arguments
behind a pointer.  A call that the kernel does not have stays one that does not exist: the C library
then makes another one.
"""

import errno
from _struct import Struct

from sundog.emulation.notify.handlers.narrow import narrow_handlers
from sundog.emulation.notify.handlers.restart import RestartHandler
from sundog.emulation.notify.seccomp.program import SYS_BIND, SYS_GETSOCKOPT
from sundog.emulation.notify.state.state import State
from sundog.emulation.notify.tracee.abi import I386_LONG_SIZE, NotifyAbi
from sundog.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.kernel.libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.tracee.call import Arguments, Handler

# The calls of socketcall(2) that are notified, and how many arguments each has: net/socket.c.
SOCKET_CALLS = {SYS_BIND: ("bind", 3), SYS_GETSOCKOPT: ("getsockopt", 5)}
MAX_ARGUMENTS = 6
# Calls that not every kernel with a supervisor has: Linux 6.6 and 6.13.  Distributions add calls to
# older kernels, so the version tells nothing.
YOUNG_CALLS = ("fchmodat2", "setxattrat", "getxattrat", "listxattrat", "removexattrat")
NO_FLAGS = -1  # among them are flags that no call knows


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
            is_young = name in YOUNG_CALLS
            handlers[name] = YoungCall(abi.numbers[name], handler).handle if is_young else handler
    return handlers


class YoungCall:
    """Answer a call only if the kernel has it."""

    def __init__(self, number: int, handler: "Handler") -> None:
        self._number = number
        self._handler = handler
        self._is_there: bool | None = None

    def handle(self, thread: int, args: "Arguments") -> Answer:
        """Answer as the handler does, or leave the call to the kernel, which says ENOSYS."""
        if self._is_there is None:
            # The third or the fourth argument is the flags; a kernel with the call says EINVAL.
            said = syscall(self._number, -1, None, NO_FLAGS, NO_FLAGS, None, 0)
            self._is_there = said != -errno.ENOSYS
        return self._handler(thread, args) if self._is_there else CONTINUE


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
