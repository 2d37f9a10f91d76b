"""A forked child that runs a Python function and hands its result back.

The result, or the exception, comes through a pipe that the child's own commands do not inherit.
The child is tied to its parent: the kernel kills it when the parent dies, whatever the parent died
of.  It runs on the memory of the parent as it was, without a second start of the interpreter, so
the parent must have no threads.

Not part of ``ch-run``.
"""

import os
import select
import signal
import sys

from sundog.errors import SundogError
from sundog.kernel.process import set_pdeathsig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Child:
    """A child process; ``pid`` is its process ID as this process sees it."""

    __slots__ = ("_pipe", "pid")

    def __init__(self, function: "Callable[[Callable[[], None]], object]") -> None:
        """Fork, and call ``function`` in the child.

        Its argument is a function to call after every change of credentials, which unties the
        child from its parent (PR_SET_PDEATHSIG in prctl(2)).
        """
        self._pipe, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            try:
                answer = _outcome(function, write_end)
                _write_all(write_end, answer)
            finally:
                os._exit(0)
        os.close(write_end)

    def answer(self) -> "tuple[bool, Any] | None":
        """Wait for the answer: (True, result), (False, exception) or, if none came, None.

        A child that became a command has none.  It is not reaped.
        """
        import pickle  # noqa: PLC0415 - seldom needed

        with open(self._pipe, "rb") as pipe:
            packed = pipe.read()
        # What a child of ours packed, over a pipe that nobody else holds.
        return pickle.loads(packed) if packed else None

    def result(self, *, stop: int = signal.SIGKILL) -> "Any":
        """Wait for the child; return its result or raise its exception.

        When this process is interrupted meanwhile, the child gets the signal ``stop`` and is
        waited for before the interruption goes on.
        """
        try:
            answer = self.answer()
            status = self.wait()
        except BaseException:
            os.kill(self.pid, stop)
            self.wait()
            raise
        if answer is None:
            code = os.waitstatus_to_exitcode(status)
            raise SundogError(
                f"a process of {os.path.basename(sys.argv[0]) or 'sundog'} was killed "
                f"by signal {-code}",
                "if it was not you, the machine may be out of memory: see dmesg",
            )
        succeeded, value = answer
        if succeeded:
            return value
        raise value

    def wait(self) -> int:
        """Reap the child; return its wait status."""
        return os.waitpid(self.pid, 0)[1]


def _outcome(function: "Callable[[Callable[[], None]], object]", write_end: int) -> bytes:
    import pickle  # noqa: PLC0415

    def tie() -> None:
        set_pdeathsig(signal.SIGKILL)
        poll = select.poll()
        poll.register(write_end, 0)
        if poll.poll(0):  # nobody holds the other end: the parent was faster
            os._exit(0)

    try:
        tie()
        return pickle.dumps((True, function(tie)))
    except BaseException as error:
        try:
            return pickle.dumps((False, error))
        except Exception:
            return pickle.dumps((False, SundogError(f"{type(error).__name__}: {error}")))


def _write_all(fd: int, data: bytes) -> None:
    with open(fd, "wb") as file:
        file.write(data)
