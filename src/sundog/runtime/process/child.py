"""A forked child that runs a Python function and returns its result to the parent.

The result, or the exception, comes through a pipe that the child's own commands do not inherit.
The child is tied to its parent: whatever ends the parent, the kernel kills the child too.  The
child runs on a copy of the parent's memory, without a second start of the interpreter.  So the
parent must have no threads.

A child may run beside programs of an image.  So it can be told to close what it does not need, and
the parent reads its messages as those of a stranger: see ``wire``.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress

from sundog.base.kernel.files import Closing, close_all_but
from sundog.base.kernel.process import fork, fork_below, set_pdeathsig
from sundog.base.wire.outcomes import NO_OUTCOME, pack_exception, pack_result, unpack_outcome
from sundog.errors import SundogError
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from typing import Protocol

    class Tether(Protocol):
        """Reaches what the child has started: see ``Leash``."""

        def tell(self, number: int) -> None:
            """Tell it of a signal; SIGTERM ends it."""

        def has_ended(self, seconds: float) -> bool:
            """Wait at most so many seconds for its end; return whether it has ended."""

    class Carrier(Protocol):
        """Carries what the child sends beside its answer: see ``Relay``."""

        @property
        def sources(self) -> AbstractSet[int]:
            """The descriptors to carry from when they have data."""

        @property
        def due(self) -> float | None:
            """The time (CLOCK_MONOTONIC, seconds) to ``carry_due``; None for never."""

        def carry(self, source: int) -> None:
            """Carry what there is."""

        def carry_due(self) -> None:
            """Carry what had to wait."""

        def finish(self) -> None:
            """Carry the rest: the child sends no more."""


_READ_SIZE = 1 << 16
# The limit for an answer.  The longest is that of a supervisor, with the records of a whole image.
_ANSWER_LIMIT = 1 << 30
# Seconds for an interrupted child to end by itself, and then to kill the processes that it started.
PATIENCE_WITH_INTERRUPTED = 5.0
PATIENCE_WITH_STOPPED = 10.0
PATIENCE_WITH_KILLED = 0.5
# Seconds for a killed child without a container: it may wait for a file server, such as FUSE's.
PATIENCE_WITH_STUCK = 2.0
_LOOK = 0.25  # seconds between two looks at a child

STANDARD_STREAMS = (0, 1, 2)


class Child:
    """A child process; ``pid`` is its process ID as this process sees it."""

    __slots__ = ("_answer", "_may_stick", "_pipe", "pid")

    def __init__(
        self,
        function: Callable[[Callable[[], None]], object],
        keep: Iterable[int] | None = None,
        *,
        may_stick: bool = False,
        proc: int = -1,
    ) -> None:
        """Fork, and call ``function`` in the child; its result must be packable by ``wire.values``.

        Its argument is a function that makes the kernel kill the child when its parent ends
        (PR_SET_PDEATHSIG in prctl(2)).  A change of credentials undoes that, so the function must
        be called after each.  The child keeps the standard descriptors and those in ``keep``, by
        default all.  A child that ``may_stick`` waits for file servers of strangers: if it does not
        end soon after SIGKILL, it is not reaped.  ``proc`` is a /proc, if this process has the root
        of a container: see ``fork_below``.
        """
        self._answer = bytearray()
        self._may_stick = may_stick
        self._pipe, write_end = os.pipe()
        try:
            self.pid = fork() if proc < 0 else fork_below(proc, fork)
        except OSError:
            os.close(self._pipe)
            os.close(write_end)
            raise
        if self.pid == 0:
            try:
                if keep is None:
                    os.close(self._pipe)
                else:
                    # Objects of the parent must not close descriptor numbers that are in use again.
                    gc.freeze()
                    close_all_but((*STANDARD_STREAMS, write_end, *keep))
                _write_all(write_end, _outcome(function, write_end))
            finally:
                os._exit(0)
        os.close(write_end)

    def answer(self, relay: Carrier | None = None) -> bytes:
        """Wait for the answer, for ``opened``; return b"" if none came.

        A child that became a command gives no answer.  This does not reap the child.  Meanwhile the
        ``relay`` carries the child's output.
        """
        self._await_answer(relay, None)
        return bytes(self._answer)

    def result(
        self,
        *,
        leash: Tether | None = None,
        relay: Carrier | None = None,
        look: Callable[[], None] | None = None,
    ) -> object:
        """Wait for the child; return its result or raise its exception.

        The child may be a guard, with a ``leash`` to its init.  If ^C interrupts this process, the
        init is told SIGINT, for its command, which gets some time.  Then, or at another exception
        or another ^C, it is told SIGTERM.  In the end the child is killed.  It has been reaped when
        the exception goes on, unless the kernel can't end it.  ``look`` is called while this
        process waits, and may raise.
        """
        try:
            while look is not None and self._pipe >= 0:
                self._await_answer(relay, time.monotonic() + _LOOK)
                look()
            answer = self.answer(relay)
            status = self.wait()
        except BaseException as error:
            self._end(leash, relay, is_gentle=isinstance(error, KeyboardInterrupt))
            raise
        if not answer:
            code = os.waitstatus_to_exitcode(status)
            by = f" by signal {-code}" if code else ""
            raise SundogError(
                f"a process of {_own_name()} was killed{by}",
                "if it was not you, the machine may be out of memory: see dmesg",
            )
        return opened(answer)

    def kill(self) -> None:
        """Kill the child and reap it; its answer is lost."""
        self._end(None, None, is_gentle=False)

    def wait(self) -> int:
        """Reap the child; return its wait status, 0 if this process ignores SIGCHLD."""
        try:
            return os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            return 0

    def _await_answer(self, relay: Carrier | None, deadline: float | None) -> None:
        """Wait for the whole answer, but no longer than until the ``deadline``."""
        if self._pipe < 0:
            return
        while True:
            times = [deadline] if relay is None else [deadline, relay.due]
            until = min((end for end in times if end is not None), default=None)
            ready = self._ready(relay, until)
            if deadline is not None and not ready and time.monotonic() >= deadline:
                return
            if relay is not None:
                for source in relay.sources & ready:
                    relay.carry(source)
                relay.carry_due()
            if self._pipe not in ready:
                continue
            data = os.read(self._pipe, _READ_SIZE)
            self._answer += data
            if not data:
                break
            if len(self._answer) > _ANSWER_LIMIT:
                raise SundogError(NO_OUTCOME)
        os.close(self._pipe)
        self._pipe = -1
        if relay is not None:
            relay.finish()

    def _ready(self, relay: Carrier | None, until: float | None) -> set[int]:
        """Wait for data from the child or for the relay; return the descriptors that have some."""
        poll = select.poll()
        for source in {self._pipe} if relay is None else {self._pipe, *relay.sources}:
            poll.register(source, select.POLLIN)
        left = None if until is None else max(0.0, until - time.monotonic())
        return {fd for fd, _ in WATCH.poll(poll, left)}

    def _end(self, leash: Tether | None, relay: Carrier | None, *, is_gentle: bool) -> None:
        """End the child and reap it, whatever else happens meanwhile."""
        if leash is not None:
            self._end_command(leash, relay, is_gentle=is_gentle)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        waits_long = leash is None and not self._may_stick
        if waits_long or self.ends_within(PATIENCE_WITH_KILLED if leash else PATIENCE_WITH_STUCK):
            self.wait()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def ends_within(self, seconds: float) -> bool:
        """Wait at most so many seconds for the end of the child; return whether it has ended."""
        try:
            opened_process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True  # it has been reaped
        with Closing(opened_process) as process:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            return bool(poll.poll(seconds * 1000))

    def _end_command(self, leash: Tether, relay: Carrier | None, *, is_gentle: bool) -> None:
        """End the command of a guard, and its container."""
        steps = [(signal.SIGTERM, PATIENCE_WITH_STOPPED)]
        if is_gentle:
            steps.insert(0, (signal.SIGINT, PATIENCE_WITH_INTERRUPTED))
        if leash.has_ended(0):
            return
        with _on_another_interrupt(lambda: leash.tell(signal.SIGTERM)):
            # The kernel shows that a supervisor waits for a FUSE daemon only after a signal.
            with suppress(ProcessLookupError):  # ^C may come when it has just been reaped
                os.kill(self.pid, signal.SIGINT)
            for signo, patience in steps:
                leash.tell(signo)
                try:
                    self._await_answer(relay, time.monotonic() + patience)
                except Exception:
                    relay = None  # perhaps nobody can read its output any more


@contextmanager
def _on_another_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` at each further ^C; no ^C interrupts the context."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread() -> bool:
    """Tell whether this thread is the one that gets signals."""
    threading = sys.modules.get("threading")  # without it there is one thread
    return threading is None or threading.current_thread() is threading.main_thread()


def opened(answer: bytes) -> object:
    """Return the result in a child's ``answer``, or raise its exception.

    Raises SundogError if it is not a valid answer.
    """
    try:
        return unpack_outcome(answer)
    except ValueError as error:
        raise SundogError(f"{NO_OUTCOME}: {error}") from None


def _own_name() -> str:
    """Return the name of this process for messages."""
    return os.path.basename(sys.argv[0]) or "sundog"


def _outcome(function: Callable[[Callable[[], None]], object], write_end: int) -> bytes:
    """Call the ``function`` of a child; return its result or exception as an answer."""

    def tie() -> None:
        set_pdeathsig(signal.SIGKILL)
        poll = select.poll()
        poll.register(write_end, 0)
        if poll.poll(0):  # nobody holds the other end: the parent ended first
            os._exit(0)

    try:
        tie()
        return pack_result(function(tie))
    except BaseException as error:
        return pack_exception(error)


def _write_all(fd: int, data: bytes) -> None:
    """Write ``data`` to ``fd`` and close it."""
    with open(fd, "wb") as file:
        file.write(data)
