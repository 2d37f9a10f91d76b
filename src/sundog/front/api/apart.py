"""Do the work of a function in a process of its own.

The work forks processes, waits for them and enters user namespaces, and it handles signals.  A
program may have threads, ignore SIGCHLD, and use signals otherwise.  So the program forks once: a
process with one thread, with signals of its own, and with no descriptor that the work does not
need.  It is tied to the thread that waits for it.  Events and the result come through pipes.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from sundog.base.wire.values import pack_value, unpack_value
from sundog.front.api import LOADING
from sundog.front.api.progress import Event, ProgressReport
from sundog.runtime.process.child import Child
from sundog.runtime.process.interruption import INTERRUPTIONS, Interruption, die_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self, TypeVar

    from sundog.front.api.progress import Progress

    T = TypeVar("T")

_SIZE = 4  # bytes, of the length before an event
_PIECE = 1 << 16


def apart(
    work: Callable[[ProgressReport], T],
    progress: Progress | None = None,
    keep: Iterable[int] = (),
) -> T:
    """Return what ``work`` returns in another process, or raise what it raises.

    The result must be packable by ``wire.values``.  The process keeps the descriptors in ``keep``.
    ``progress`` is called in this thread; if it raises, the work is interrupted.
    """
    with _Events(progress) as events:

        def inside(_tie: Callable[[], None]) -> T:
            _forget_other_threads()
            _take_signals()
            os.setsid()  # the program decides what ^C does
            interruption = Interruption(lambda: None)
            try:
                with interruption:
                    return work(ProgressReport(None if progress is None else events.send))
            except INTERRUPTIONS:
                if interruption.number != signal.SIGINT:
                    die_of(interruption.number)
                raise

        with LOADING:
            child = Child(inside, [events.end, *keep])
        leash = _Interrupter(child)
        result: T = child.result(leash=leash, relay=events)  # type: ignore[assignment]
        return result


class _Interrupter:
    """Reaches the process of the work, which ends at SIGINT: a leash of ``Child``.

    The kernel has forgotten an ended process already if the program ignores SIGCHLD.
    """

    def __init__(self, child: Child) -> None:
        self._child = child

    def tell(self, _number: int) -> None:
        """Interrupt the work."""
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGINT)

    def has_ended(self, seconds: float) -> bool:
        """Wait at most so many seconds for the end; return whether it has come."""
        return self._child.ends_within(seconds)


class _Events:
    """Events on their way from the other process: a relay of ``Child``."""

    due: float | None = None

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._source, self.end = os.pipe()
        os.set_blocking(self._source, False)
        self.sources = {self._source}
        self._rest = b""

    def send(self, event: Event) -> None:
        """Send an event, in the other process; one thread does so at a time."""
        data = pack_value((event.kind, event.text, event.done, event.total))
        rest = memoryview(len(data).to_bytes(_SIZE, "big") + data)
        while rest:
            rest = rest[os.write(self.end, rest) :]

    def carry(self, source: int) -> None:
        """Hand over the events that have come."""
        self._rest += os.read(source, _PIECE)
        while len(self._rest) >= _SIZE:
            end = _SIZE + int.from_bytes(self._rest[:_SIZE], "big")
            if len(self._rest) < end:
                return
            data, self._rest = self._rest[_SIZE:end], self._rest[end:]
            match unpack_value(data):
                case (str(kind), str(text), int(done), int() | None as total):
                    if self._progress is not None:
                        self._progress(Event(kind, text, done, total))

    def carry_due(self) -> None:
        """Do nothing: no event has to wait."""

    def finish(self) -> None:
        """Hand over what is in the pipe: all has been sent."""
        try:
            while True:
                self.carry(self._source)
        except BlockingIOError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._source)
        os.close(self.end)


def _forget_other_threads() -> None:
    """Forget the imports that other threads had begun at the fork: here nobody would end them."""
    locks = getattr(sys.modules["_frozen_importlib"], "_module_locks", {})
    locks.clear()
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__dict__", {}).get("__spec__")
        if getattr(spec, "_initializing", False):
            del sys.modules[name]


def _take_signals() -> None:
    """Undo what the program has done to signals."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
