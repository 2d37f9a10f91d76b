"""A process that works beside others, as the one sees it that has forked it."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from contextlib import suppress

from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import TypeVar

    _P = TypeVar("_P", bound="RunningProcess")

NO_MORE = (errno.EAGAIN, errno.ENOMEM)  # of fork(2): perhaps later
_READ = 1000  # bytes of output in which its last line is
_PATIENCE = 10.0  # seconds for the cleaning up of a process that is ended


class RunningProcess:
    """The process ``pid``, which does the part ``index`` of the work.

    ``links`` are the descriptors that it sends to.
    """

    def __init__(self, index: int, pid: int, links: Sequence[int]) -> None:
        self.index = index
        self.is_ended = False
        self._pid = pid
        self._links = links
        self._pidfd = os.pidfd_open(pid)
        self._doing = ""
        self._said = ""
        self._since = time.monotonic()

    def __str__(self) -> str:
        """Return what it does, and for how long it has done that."""
        return f"{self._doing} ({time.monotonic() - self._since:.0f} s)"

    @property
    def line(self) -> str:
        """The same, and the last line of its output."""
        return f"{self} {self._said}"

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors to poll: one of them is readable when it has sent something, or has ended."""
        return (*self._links, self._pidfd)

    def note_begin(self, doing: str) -> None:
        """Take note of what it does from now on."""
        self._doing, self._since, self._said = doing, time.monotonic(), ""

    def note_output(self, piece: bytes) -> None:
        """Take note of its output."""
        lines = piece[-_READ:].split(b"\n")
        said = next((line for line in reversed(lines) if line.strip()), b"")
        self._said = said.decode("utf-8", "replace").rpartition("\r")[2] or self._said

    def end(self) -> None:
        """Interrupt it, as a signal interrupts a command."""
        self.is_ended = True
        self._signal(signal.SIGTERM)

    def hang_up(self) -> None:
        """Read no more of what it sends."""
        for link in self._links:
            os.close(link)
        self._links = ()

    def kill(self) -> None:
        """Kill it."""
        self._signal(signal.SIGKILL)

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
        self.hang_up()
        os.close(self._pidfd)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)


def with_news(processes: Collection[_P], seconds: float) -> list[_P]:
    """Wait some seconds until processes have sent something, or have ended; return those."""
    poll = select.poll()
    places = {}
    for running in processes:
        for fd in running.descriptors:
            poll.register(fd, select.POLLIN)
            places[fd] = running
    return [*dict.fromkeys(places[fd] for fd, _ in poll.poll(seconds * 1000))]


def end_all(
    running: Callable[[], Collection[RunningProcess]], listen: Callable[[float], None]
) -> None:
    """End processes, until none is ``running`` any more; ``listen`` takes what they send."""
    for process in running():
        process.end()
    deadline = time.monotonic() + _PATIENCE
    while processes := running():
        left = deadline - time.monotonic()
        if left <= 0:
            for process in processes:
                process.kill()
        listen(max(left, 1))


def end_at_once(processes: Sequence[RunningProcess]) -> list[int]:
    """End processes, and return their statuses.  What they have sent is lost."""
    for running in processes:
        running.hang_up()
        running.end()
    deadline = time.monotonic() + _PATIENCE
    statuses = []
    for running in processes:
        if not running.has_ended(max(deadline - time.monotonic(), 0)):
            running.kill()
        statuses.append(running.reap())
    return statuses


def lost(what: str, status: int) -> StoreError:
    """Return the error for a process that has ended without an outcome."""
    cause = f"signal {-status}" if status < 0 else f"exit status {status}"
    return StoreError(
        f"the process of {what}: {cause}",
        "perhaps the machine ran out of memory; --jobs 1 needs less",
    )
