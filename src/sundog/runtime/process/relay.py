"""Carry the output of a RUN to where the user wants it, through pipes.

Its builder may take the output in place of the user.

A RUN never has the user's own terminal or file.  From a descriptor of the terminal, it could read
what the user types.  By /proc/self/fd, it could open the user's log for reading.
"""

from __future__ import annotations

import os
import sys
from fcntl import ioctl
from select import POLLOUT, poll
from termios import FIONREAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.process.pseudoterminal import Pseudoterminal

    # Takes a piece of output from standard output (1) or standard error (2).
    OutputSink = Callable[[int, bytes], None]

_PIECE = 1 << 16
_NAMES = {1: "/dev/stdout", 2: "/dev/stderr"}


class Tail:
    """The last bytes of each stream of a command: at least ``limit`` if there are so many.

    Each has its own, because nothing tells in which order two pipes were written.
    """

    __slots__ = ("_limit", "_streams")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams: dict[int, bytearray] = {}

    def add(self, source: int, piece: bytes) -> None:
        """Append what the command printed next to the stream ``source``."""
        stream = self._streams.setdefault(source, bytearray())
        stream += piece
        if len(stream) > 2 * self._limit:
            del stream[: -self._limit]

    @property
    def data(self) -> bytes:
        """The ends of the streams, one after the other."""
        return b"\n".join(self._streams.values())


def write_output(target: int, piece: bytes) -> None:
    """Write a piece of output to the user's descriptor ``target``; an OSError names it."""
    data = memoryview(piece)
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:  # another program has set O_NONBLOCK on the user's terminal
            ready = poll()
            ready.register(target, POLLOUT)
            ready.poll()
        except OSError as error:
            error.filename = _NAMES.get(target, f"/dev/fd/{target}")
            raise


class Relay:
    """Pipes for standard output and error; one pipe if both lead to the same file.

    A ``sink`` takes the output in pieces of at most _PIECE bytes; there is one pipe if both have
    the same number.

    ends     the ends that the command's standard output and error write to
    sources  the descriptors to ``carry`` from when they have data

    A ``terminal`` of the command is carried, too.  A ``tail`` keeps the end of what the pipes
    carried.  Use it as a context, which closes the pipes.
    """

    __slots__ = ("_sink", "_tail", "_targets", "_terminal", "ends")

    def __init__(
        self,
        stdout: int,
        stderr: int,
        sink: OutputSink | None = None,
        terminal: Pseudoterminal | None = None,
        tail: Tail | None = None,
    ) -> None:
        """Make the pipes for output that goes to ``sink``, else to ``stdout`` and ``stderr``.

        These two are descriptors.
        """
        self._sink = sink
        self._terminal = terminal
        self._tail = tail
        is_one = stdout == stderr if sink is not None else os.path.sameopenfile(stdout, stderr)
        if sink is not None:
            stdout, stderr = _NAMES
        source, end = os.pipe()
        self._targets = {source: stdout}
        self.ends = (end, end)
        if not is_one:
            source, other = os.pipe()
            self._targets[source] = stderr
            self.ends = (end, other)

    @property
    def sources(self) -> set[int]:
        """Return the descriptors to carry from; one is left out while nothing can be carried."""
        pipes = set(self._targets)
        return pipes if self._terminal is None else pipes | self._terminal.sources

    @property
    def due(self) -> float | None:
        """Return the time (CLOCK_MONOTONIC, seconds) to ``carry_due``; None for never."""
        return None if self._terminal is None else self._terminal.typed.due

    def carry_due(self) -> None:
        """Carry what had to wait, if its time has come."""
        if self._terminal is not None:
            self._terminal.typed.carry_due()

    def carry(self, source: int) -> None:
        """Write some of a pipe's data to its target.

        Raises OSError, which names the target.
        """
        if self._terminal is not None and source not in self._targets:
            self._terminal.carry(source)
            return
        piece = os.read(source, _PIECE)
        if self._tail is not None:
            self._tail.add(source, piece)
        target = self._targets[source]
        if self._sink is not None:
            self._sink(target, piece)
        else:
            write_output(target, piece)

    def finish(self) -> None:
        """Carry the data that is in the pipes now: nobody writes to them any more."""
        if self._terminal is not None:
            self._terminal.finish()
        for source in self._targets:
            left = int.from_bytes(ioctl(source, FIONREAD, bytes(4)), sys.byteorder)
            while left > 0:
                self.carry(source)
                left -= _PIECE

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in {*self._targets, *self.ends}:
            os.close(fd)
