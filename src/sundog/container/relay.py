"""Carry what a RUN prints to where the user wants it, through pipes.

A RUN never has the user's own terminal or file: from its descriptor of a terminal it could read
what he types, and by /proc/self/fd it could open his log for reading.

Not part of ``ch-run``.
"""

import os
import sys
from fcntl import ioctl
from select import POLLOUT, poll
from termios import FIONREAD

PIECE = 1 << 16
NAMES = {1: "/dev/stdout", 2: "/dev/stderr"}


class Relay:
    """Pipes for standard output and error; one, where both lead to the same file.

    ends     the ends for the command's standard output and error to write to
    sources  the ends to ``carry`` from when there is something in them

    Of use as a context, which closes them.
    """

    __slots__ = ("_targets", "ends", "sources")

    def __init__(self, stdout: int, stderr: int) -> None:
        """Make the pipes, for what is to arrive at the descriptors ``stdout`` and ``stderr``."""
        source, end = os.pipe()
        self._targets = {source: stdout}
        self.ends = (end, end)
        if not os.path.sameopenfile(stdout, stderr):
            source, other = os.pipe()
            self._targets[source] = stderr
            self.ends = (end, other)
        self.sources = self._targets.keys()

    def carry(self, source: int) -> None:
        """Write a piece of what is in a pipe to where it is to arrive.

        Raises OSError, which names the target.
        """
        data = memoryview(os.read(source, PIECE))
        target = self._targets[source]
        while data:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:  # somebody else has set O_NONBLOCK on the user's terminal
                ready = poll()
                ready.register(target, POLLOUT)
                ready.poll()
            except OSError as error:
                error.filename = NAMES.get(target, f"/dev/fd/{target}")
                raise

    def finish(self) -> None:
        """Carry what is in the pipes at this moment: nobody writes to them any more."""
        for source in self.sources:
            left = int.from_bytes(ioctl(source, FIONREAD, bytes(4)), sys.byteorder)
            while left > 0:
                self.carry(source)
                left -= PIECE

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in {*self.sources, *self.ends}:
            os.close(fd)
