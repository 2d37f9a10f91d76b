"""Tell a program that it starts with other IDs than its caller's: AT_SECURE of getauxval(3).

The kernel writes the auxiliary vector on the stack of a new program.  Of the emulated IDs it knows
nothing.  So the loader would believe LD_PRELOAD and its like of whoever starts a set-ID program.  A
process of its own traces the caller until its execve(2) ends, and changes the vector before the
program's first instruction (PTRACE_EVENT_EXEC of ptrace(2)).  The supervisor waits for no program.

The vector in /proc/PID/auxv stays the kernel's.
"""

from __future__ import annotations

import os
import sys
from select import POLLIN, poll

from sundog.base.cpython import AF_UNIX, SIGKILL, SOCK_STREAM, Struct, socketpair
from sundog.base.kernel.files import Closing, close_all_but
from sundog.base.kernel.libc import libc_call
from sundog.base.kernel.process import argument_area, fork_below
from sundog.runtime.emulation.notify.tracee.call import U32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.runtime.emulation.notify.tracee.memory import Memory

# linux/auxvec.h
_AT_NULL = 0
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE = 11, 12, 13, 14, 23

# linux/ptrace.h
_PTRACE_DETACH, _PTRACE_SEIZE, _PTRACE_INTERRUPT = 17, 0x4206, 0x4207
_PTRACE_O_TRACEEXEC = 1 << 4
_PTRACE_EVENT_EXEC = 4
_WALL = 0x40000000  # linux/wait.h

_SEIZE_LIMIT = 1000  # milliseconds
_VECTOR_LIMIT = 4096
# Between the vector and the arguments are a few strings and a gap of a random size: less than this
# (fs/binfmt_elf.c, create_elf_tables; arch_align_stack).
_GAP_LIMIT = 8192 + os.sysconf("SC_PAGE_SIZE")


class SecureStarts:
    """Starts processes that change auxiliary vectors in the ``memory`` of tracees."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._tracers: list[int] = []

    def begin(self, thread: int, values: Mapping[int, int]) -> int:
        """Have the program that ``thread`` is about to start get ``values``, by their AT_*.

        Returns a descriptor, for the caller to close after it has replied to the execve(2).  If
        the thread can't be traced, because another process does so, its program gets the kernel's
        values.  Raises OSError if no process can be started.
        """
        self._tracers = [
            tracer for tracer in self._tracers if not os.waitpid(tracer, os.WNOHANG)[0]
        ]
        ours, theirs = (end.detach() for end in socketpair(AF_UNIX, SOCK_STREAM))
        try:
            tracer = fork_below()
        except OSError:
            os.close(ours)
            os.close(theirs)
            raise
        if tracer == 0:
            try:
                close_all_but((theirs,))
                self._trace(thread, values, theirs)
            finally:
                os._exit(0)
        self._tracers.append(tracer)
        os.close(theirs)
        began = poll()
        began.register(ours, POLLIN)
        if began.poll(_SEIZE_LIMIT):
            os.read(ours, 1)
        else:
            os.kill(tracer, SIGKILL)  # another thread of the process executes a file of FUSE
        return ours

    def wait(self) -> None:
        """Wait for the processes, which end with those that they trace."""
        for tracer in self._tracers:
            os.waitpid(tracer, 0)

    def _trace(self, thread: int, values: Mapping[int, int], channel: int) -> None:
        """Wait for the end of the execve(2) of ``thread``; be the process that does so."""
        if libc_call("ptrace", _PTRACE_SEIZE, thread, 0, _PTRACE_O_TRACEEXEC) < 0:
            return
        os.write(channel, b"\0")
        os.read(channel, 1)
        # Whatever becomes of the call, the thread stops now, at its end.
        libc_call("ptrace", _PTRACE_INTERRUPT, thread, 0, 0)
        process, status = os.waitpid(-1, _WALL)
        if not os.WIFSTOPPED(status):
            return
        event, signal = status >> 16, os.WSTOPSIG(status)
        try:
            if event == _PTRACE_EVENT_EXEC:
                _change_vector(self._memory, process, values)
        finally:
            # Without an event, the thread is about to get the signal.
            libc_call("ptrace", _PTRACE_DETACH, process, 0, 0 if event else signal)


def _change_vector(memory: Memory, process: int, values: Mapping[int, int]) -> None:
    """Write ``values``, by their AT_*, into the auxiliary vector of a program that has not run yet.

    The working directory is a /proc that shows ``process``.  Raises OSError or KernelAnswers.
    """
    with Closing(os.open(b"%d/auxv" % process, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        vector = os.read(fd, _VECTOR_LIMIT)
    # The kernel lists no value above 32 bits as a key, so this is a pair of a 32-bit program.
    is_narrow = int.from_bytes(vector[:8], sys.byteorder) > U32
    pair = Struct("=II" if is_narrow else "=QQ")
    old = new = b""
    for key, value in pair.iter_unpack(vector[: len(vector) // pair.size * pair.size]):
        old += pair.pack(key, value)
        new += pair.pack(key, values.get(key, value))
        if key == _AT_NULL:
            break
    arguments, _ = argument_area(b"%d/stat" % process)
    start = arguments - len(old) - _GAP_LIMIT
    found = memory.read(process, start, arguments - start).rfind(old)
    if found >= 0:
        memory.write(process, start + found, new)
