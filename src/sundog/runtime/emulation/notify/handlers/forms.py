"""Tables of handlers for the calls of an ABI: the usual handler, or one for the ABI's own form.

socketcall(2) and ipc(2), which some ABIs have beside or in place of the calls for sockets and for
System V IPC, have their arguments elsewhere.  A call that the kernel does not have stays one that
does not exist: the C library then makes another one.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct
from sundog.base.kernel.libc import syscall
from sundog.runtime.emulation.notify.handlers.narrow import narrow_handlers
from sundog.runtime.emulation.notify.handlers.restart import RestartHandler
from sundog.runtime.emulation.notify.handlers.sysv import IPC_64
from sundog.runtime.emulation.notify.seccomp.program import (
    IPC_CALL_BITS,
    MSGCTL,
    MSGGET,
    MSGRCV,
    MSGSND,
    SEMCTL,
    SEMGET,
    SEMOP,
    SEMTIMEDOP,
    SHMAT,
    SHMCTL,
    SHMGET,
    SYS_BIND,
    SYS_CONNECT,
    SYS_GETSOCKOPT,
    SYS_RECVMMSG,
    SYS_RECVMSG,
    SYS_SENDMMSG,
    SYS_SENDMSG,
    SYS_SENDTO,
    SYS_SETSOCKOPT,
)
from sundog.runtime.emulation.notify.tracee.abi import I386_LONG_SIZE, YOUNG_CALLS, NotifyAbi
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

# The calls of socketcall(2) that are notified, and how many arguments each has: net/socket.c.
SOCKET_CALLS = {
    SYS_BIND: ("bind", 3),
    SYS_CONNECT: ("connect", 3),
    SYS_SENDTO: ("sendto", 6),
    SYS_SETSOCKOPT: ("setsockopt", 5),
    SYS_GETSOCKOPT: ("getsockopt", 5),
    SYS_SENDMSG: ("sendmsg", 3),
    SYS_RECVMSG: ("recvmsg", 3),
    SYS_SENDMMSG: ("sendmmsg", 4),
    SYS_RECVMMSG: ("recvmmsg", 5),
}
_ARGUMENTS_LIMIT = 6
# The calls of ipc(2), and where each argument is; the last one of semctl is behind a pointer.
_IPC_CALLS = {
    SEMOP: ("semop", (1, 4, 2)),
    SEMGET: ("semget", (1, 2, 3)),
    SEMCTL: ("semctl", (1, 2, 3, 4)),
    SEMTIMEDOP: ("semtimedop", (1, 4, 2)),
    MSGSND: ("msgsnd", (1,)),
    MSGRCV: ("msgrcv", (1,)),
    MSGGET: ("msgget", (1, 2)),
    MSGCTL: ("msgctl", (1, 2, 4)),
    SHMAT: ("shmat", (1, 4, 2)),
    SHMGET: ("shmget", (1, 2, 3)),
    SHMCTL: ("shmctl", (1, 2, 4)),
}
_NO_FLAGS = -1  # among them are flags that no call knows


def handlers_of(abi: NotifyAbi, state: State, common: dict[str, Handler]) -> dict[str, Handler]:
    """Return the handlers of ``abi`` by its names of the calls.

    ``common`` are the handlers that all ABIs have.
    """
    own: dict[str, Handler] = {}
    if abi.long_size == I386_LONG_SIZE:
        own = narrow_handlers(state, common)
    own["ipc"] = IpcCall(abi, state, {**common, **own}).handle
    own["rt_sigaction"] = RestartHandler(abi, state).rt_sigaction
    own["socketcall"] = SocketCall(abi, state, {**common, **own}).handle
    handlers = {}
    for name in abi.numbers:
        handler = own.get(name) or common.get(abi.call(name))
        if handler is not None:
            is_young = name in YOUNG_CALLS
            handlers[name] = _YoungCall(abi.numbers[name], handler).handle if is_young else handler
    return handlers


class IpcCall:
    """Sort the arguments of ipc(2), which stands for the calls of System V IPC: ipc/syscall.c."""

    def __init__(self, abi: NotifyAbi, state: State, calls: dict[str, Handler]) -> None:
        self._memory = state.memory
        self._is_narrow = abi.long_size == I386_LONG_SIZE
        self._word = Struct("=I" if self._is_narrow else "=Q")
        self._calls = calls

    def handle(self, thread: int, args: Arguments) -> Answer:
        """int ipc(unsigned call, int first, int second, int third, void *pointer, long fifth)."""
        found = _IPC_CALLS.get(args[0] & IPC_CALL_BITS)
        if found is None:
            return CONTINUE
        name, places = found
        if name.endswith("ctl") and self._is_narrow:
            command = args[3] if name == "semctl" else args[2]
            if not command & IPC_64:
                return CONTINUE  # a structure with IDs of 16 bits, of before Linux 2.4
        values = [args[place] for place in places]
        if name == "semctl":
            pointer = values.pop()
            values.append(*self._word.unpack(self._memory.read(thread, pointer, self._word.size)))
        return self._calls[name](thread, tuple(values))


class _YoungCall:
    """Answer a call only if the kernel has it."""

    def __init__(self, number: int, handler: Handler) -> None:
        self._number = number
        self._handler = handler
        self._is_there: bool | None = None

    def handle(self, thread: int, args: Arguments) -> Answer:
        """Answer as the handler does, or leave the call to the kernel, which says ENOSYS."""
        if self._is_there is None:
            # The third or the fourth argument is the flags; a kernel with the call says EINVAL.
            said = syscall(self._number, -1, None, _NO_FLAGS, _NO_FLAGS, None, 0)
            self._is_there = said != -errno.ENOSYS
        return self._handler(thread, args) if self._is_there else CONTINUE


class SocketCall:
    """Take the arguments of a socket's call from behind the pointer."""

    def __init__(self, abi: NotifyAbi, state: State, calls: dict[str, Handler]) -> None:
        self._memory = state.memory
        code = "I" if abi.long_size == I386_LONG_SIZE else "Q"
        self._calls = {
            number: (calls[name], Struct(f"={count}{code}"))
            for number, (name, count) in SOCKET_CALLS.items()
        }

    def handle(self, thread: int, args: Arguments) -> Answer:
        """int socketcall(int call, unsigned long *args)."""
        found = self._calls.get(args[0] & U32)
        if found is None:
            return CONTINUE
        handler, form = found
        values = form.unpack(self._memory.read(thread, args[1], form.size))
        return handler(thread, values + (0,) * (_ARGUMENTS_LIMIT - len(values)))
