"""A process that has gone on with one stage, and its messages to the build that forked it.

To the stage, it is the crew (``state.Crew``).

It has locks, scratch space and a tree worker of its own.  A signal interrupts it as it interrupts a
command.  It dies with its parent.
"""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from contextlib import ExitStack, suppress
from threading import Lock

from sundog.base.kernel.process import set_pdeathsig
from sundog.base.wire.outcomes import pack_exception
from sundog.errors import SundogError
from sundog.image.builder.jobs.crossing import pack, unpack
from sundog.image.builder.retry import BuildAgain
from sundog.image.builder.state import StageResult
from sundog.image.store.worker import receive, send
from sundog.runtime.process.interruption import Interruption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from socket import socket
    from typing import NoReturn

    from sundog.image.builder.report import Message
    from sundog.image.builder.state import BuildState

REPORT, STEP, SWITCHED, NEED = "report", "step", "switched", "need"
DONE, FAILED, AGAIN, BROKEN = "done", "failed", "again", "broken"
HANDED_OVER = 3  # the exit status of a process that has sent the last of these


class StageProcess:
    """This process, which was forked by ``parent`` a moment ago; ``link`` leads there.

    ``known`` are the stages whose results the parent has.
    """

    def __init__(self, link: socket, parent: int, known: Container[int]) -> None:
        self._link = link
        self._known = known
        self._lock = Lock()  # transfers report from their own threads
        self._held = ExitStack()
        set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        self._held.enter_context(Interruption(lambda: None))

    def settle(self, state: BuildState) -> None:
        """Take what the build's objects share with the parent as this process's own."""
        state.go_on_with(self)
        state.store.leave_to_parent()
        captured = state.options.run.captured
        if captured >= 0:
            with tempfile.TemporaryFile(buffering=0) as own:
                fcntl.fcntl(own, fcntl.F_SETFL, os.O_APPEND)
                os.dup2(own.fileno(), captured, inheritable=False)

    def report(self, message: Message) -> None:
        """Send a message of the report."""
        self.tell(REPORT, message)

    def tell(self, *message: object) -> None:
        """Send a message; without a parent, or if it ends this process, be interrupted."""
        try:
            with self._lock:
                send(self._link.fileno(), pack(*message))
        except OSError:
            raise KeyboardInterrupt from None

    def missed(self, key: str, *, waits: bool) -> None:  # noqa: ARG002 - it has begun
        """See ``state.Crew``."""
        self.tell(STEP, key)

    def found(self, key: str) -> None:
        """See ``state.Crew``."""

    def switched(self) -> None:
        """See ``state.Crew``."""
        self.tell(SWITCHED)

    def late(self, index: int) -> StageResult | None:
        """See ``state.Crew``."""
        self.tell(NEED, index)
        try:
            answer = receive(self._link.fileno())
        except OSError:
            answer = None
        if answer is None:
            raise KeyboardInterrupt
        (result,) = unpack(answer)
        return result if isinstance(result, StageResult) else None

    def end(self, state: BuildState, error: BaseException | None) -> NoReturn:
        """Send the outcome of the stage, clean up, and end this process."""
        status = 1
        try:
            try:
                self._end(state, error)
            except (SundogError, OSError) as late:
                self.tell(FAILED, pack_exception(late), state.outcome(self._known), ([], []), None)
            status = HANDED_OVER
        except BaseException as last:
            with suppress(BaseException):
                state.store.__exit__(type(last), last, None)
                status = 0
        finally:
            os._exit(status)

    def _end(self, state: BuildState, error: BaseException | None) -> None:
        shared = state.shared
        if error is None and shared is not None:
            try:
                for index, result in state.results.items():
                    if index not in self._known and result.layers is not None:
                        state.results[index] = result.with_layers(shared.here(result.layers))
            except Exception as late:
                error = late
        facts = None if shared is None else shared.facts()
        match error:
            case None | SundogError() | OSError():
                loose = state.store.hand_over()
                outcome = state.outcome(self._known)
                if error is None:
                    self.tell(DONE, outcome, loose, facts)
                else:
                    self.tell(FAILED, pack_exception(error), outcome, loose, facts)
            case BuildAgain():
                self.tell(AGAIN, error.marks, state.store.hand_over())
            case _ if shared is not None and shared.is_broken_by(error):
                self.tell(BROKEN, facts, state.store.hand_over())
            case Exception():
                self.tell(FAILED, pack_exception(error), state.outcome(self._known), ([], []), None)
                raise error
            case _:
                raise error
