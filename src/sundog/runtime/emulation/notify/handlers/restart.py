"""sigaction(2): have the kernel start a call again that some signals have interrupted.

A signal that comes before the supervisor has received a call interrupts the call, also one that the
kernel itself never interrupts, such as stat(2) or getuid(2).  If the program's handler has no
SA_RESTART, the call fails with EINTR.  A shell hears of each child by SIGCHLD, and its `test -f`
would say no.  So the handlers of signals that are ignored by default get SA_RESTART, and those of
the timers of CPU time, which profilers use.  Those of other signals do not: a program may have set
an alarm to break off a read(2).
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.emulation.notify.tracee.abi import I386_LONG_SIZE, NotifyAbi
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments

_NO_FUNCTIONS = (0, 1)  # SIG_DFL, SIG_IGN
_SA_RESTART = 0x10000000


class RestartHandler:
    """Give SA_RESTART to handlers of one ABI."""

    def __init__(self, abi: NotifyAbi, state: State) -> None:
        self._memory = state.memory
        # The kernel's struct sigaction begins with sa_handler and sa_flags, an unsigned long.
        self._form = Struct("=II" if abi.long_size == I386_LONG_SIZE else "=QQ")

    def rt_sigaction(self, thread: int, args: Arguments) -> Answer:
        """int rt_sigaction(int signal, const struct sigaction *new, struct sigaction *old, ...)."""
        if args[1]:
            form = self._form
            handler, flags = form.unpack(self._memory.read(thread, args[1], form.size))
            if handler not in _NO_FUNCTIONS and not flags & _SA_RESTART:
                # If the caller can't write there, its calls may fail with EINTR.
                self._memory.write(thread, args[1], form.pack(handler, flags | _SA_RESTART))
        return CONTINUE
