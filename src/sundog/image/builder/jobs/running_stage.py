"""The process of a stage, as the build sees it that has forked it."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from sundog.image.builder.jobs.held_output import OUTPUT
from sundog.image.store.worker import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from sundog.image.builder.report import Announcement, Message

_SHOWN = 60  # characters of an instruction
_READ = 1000  # bytes of output in which its last line is


class RunningStage:
    """The process ``pid``, which builds the stage ``index``; ``link`` leads there.

    ``key`` is that of the step that it makes, which ``announced`` shows.  ``needed`` is the stage
    that it waits for, or -1.
    """

    def __init__(
        self, index: int, pid: int, link: socket, key: str, announced: Announcement | None
    ) -> None:
        self.index = index
        self.key = key
        self.needed = -1
        self.is_ended = False
        self._pid = pid
        self._link = link
        self._pidfd = os.pidfd_open(pid)
        self._doing = ""
        self._said = ""
        self._since = time.monotonic()
        if announced is not None:
            self.note(("begin", *announced.fields()))

    def __str__(self) -> str:
        """Return what it does, and for how long it has done that."""
        return f"{self._doing} ({time.monotonic() - self._since:.0f} s)"

    @property
    def line(self) -> str:
        """The same, and the last line of its output."""
        return f"{self} {self._said}"

    @property
    def descriptors(self) -> tuple[int, int]:
        """Descriptors to poll: one of them is readable when there is a message, or its end."""
        return self._link.fileno(), self._pidfd

    def note(self, message: Message) -> None:
        """Take note of what it reports."""
        match message:
            case ("begin", _, _, str(text), _, str(place), *_):
                text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
                self._doing, self._since = f"[{place}] {text}", time.monotonic()
                self._said = ""
            case (str(kind), int(), bytes(piece)) if kind == OUTPUT:
                lines = piece[-_READ:].split(b"\n")
                said = next((line for line in reversed(lines) if line.strip()), b"")
                self._said = said.decode("utf-8", "replace").rpartition("\r")[2] or self._said

    def move_on(self, key: str) -> None:
        """Take note that it makes another step."""
        self.key = key

    def wait_for(self, needed: int) -> None:
        """Take note that it waits for a stage, and has no job meanwhile."""
        self.needed = needed

    def answer(self, data: bytes) -> None:
        """Give it what it waits for."""
        self.needed = -1
        with suppress(OSError):  # it has died: its end comes next
            send(self._link.fileno(), data)

    def received(self) -> bytes | None:
        """Return a message; None if the process has ended, and has sent no more."""
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        if not poll.poll(0):
            return None
        try:
            return receive(self._link.fileno())
        except ConnectionResetError:
            return None

    def end(self) -> None:
        """Interrupt it, as a signal interrupts a command."""
        self.is_ended = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self._signal(signal.SIGKILL)

    def hang_up(self) -> None:
        """Read no more of what it sends."""
        self._link.close()

    def has_ended(self, seconds: float) -> bool:
        """Tell whether it ends within some seconds."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def reap(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        self.close()
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Close what leads to it."""
        self._link.close()
        os.close(self._pidfd)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)
