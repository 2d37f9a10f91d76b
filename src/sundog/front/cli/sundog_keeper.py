"""The process beside a detached container: it writes the log, and the exit status at the end.

It ends with the command.  A process that the command leaves behind writes to a closed pipe then.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from sundog.base.kernel.files import leave_descriptors
from sundog.base.kernel.process import set_dumpable
from sundog.errors import SundogError
from sundog.front.podman.logs import STDERR, STDOUT, LogWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.podman.containers import Containers

_STREAMS = (0, 1, 2)
_BLOCK = 1 << 16
_LAST = 16  # blocks that are read of each stream after the end: as much as a pipe holds


class Keeper:
    """The keeper of a container that is about to start: ``connect`` in the child, then ``keep``."""

    __slots__ = ("_readers", "_writers")

    def __init__(self) -> None:
        """Make the pipes for the output."""
        self._readers, self._writers = zip(*(os.pipe2(os.O_CLOEXEC) for _ in range(2)), strict=True)

    def connect(self) -> None:
        """Let the output of this process, the future command, go through the pipes."""
        for stream, writer in zip(_STREAMS[1:], self._writers, strict=True):
            os.dup2(writer, stream)

    def keep(self, child: int, containers: Containers, name: str, *, forget: bool) -> int:
        """Write the log of the container ``name``, whose process is ``child``, until it ends.

        ``forget`` its record then, or else write down its exit status; return 0.
        """
        set_dumpable(False)
        leave_descriptors(self._readers)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        process = os.pidfd_open(child)
        writers: dict[int, LogWriter] = {}
        poll = select.poll()
        for reader in (*self._readers, process):
            poll.register(reader, select.POLLIN)
        left = set(self._readers)
        ended = False
        while not ended:
            ready = [fd for fd, _ in poll.poll()]
            ended = process in ready
            if not writers:  # the record is there when the command writes, or ends
                writers = self._open_log(containers, name, child)
            for reader in left.intersection(ready):
                if not self._copy(reader, writers):
                    poll.unregister(reader)
                    left.discard(reader)
        for reader in left:
            os.set_blocking(reader, False)
            for _ in range(_LAST):
                if not self._copy(reader, writers):
                    break
        for writer_of_log in writers.values():
            with suppress(OSError):
                writer_of_log.end(time.time_ns())
        end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert end is not None
        status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
        with suppress(OSError, SundogError):  # nobody knows the status then
            _note_end(containers, name, child, status, forget=forget)
        os.waitpid(child, 0)  # while it is a zombie, others wait for its status
        return 0

    def _open_log(self, containers: Containers, name: str, child: int) -> dict[int, LogWriter]:
        container = containers.recorded(name)
        if container is None or container.process.pid != child:  # it never started
            return {}
        try:
            log = containers.append_log(container)
        except SundogError:
            return {}
        streams = zip(self._readers, (STDOUT, STDERR), strict=True)
        return {reader: LogWriter(log, stream) for reader, stream in streams}

    def _copy(self, reader: int, writers: dict[int, LogWriter]) -> bool:
        """Write to the log what can be read; return False at the end."""
        try:
            data = os.read(reader, _BLOCK)
        except BlockingIOError:
            return False
        if data and reader in writers:
            with suppress(OSError):  # such as a full disk: the command goes on
                writers[reader].write(data, time.time_ns())
        return bool(data)


def _note_end(containers: Containers, name: str, child: int, status: int, *, forget: bool) -> None:
    """Write down the exit status of a container that has ended, or forget it."""
    container = containers.recorded(name)
    if container is None or container.process.pid != child:
        return
    status = status if status >= 0 else 128 - status
    with suppress(OSError):
        containers.write_exit(container, status)
    if container.kept:
        containers.kept.end(container.identity, status)
    if forget or container.kept:
        containers.remove(name)
    else:
        containers.update(container.changed(status=status, finished=time.time_ns()))
