"""The standard streams of a command, whatever it was started with."""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_NAME_OF_STDOUT = "/dev/stdout"


def open_closed() -> None:
    """Let standard streams that are closed be /dev/null.

    The next file to be opened would have their number, and what RUN prints would go there.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
    # Python has None for those that were closed when it started.
    sys.stdin = sys.stdin or os.fdopen(_STDIN, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", closefd=False)


class _StandardOutput(io.FileIO):
    """Standard output, whose errors say that it is what they are about."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _NAME_OF_STDOUT
            raise


def name_stdout() -> None:
    """Let errors of standard output name it; else it would be taken for another file's."""
    old = sys.stdout
    raw = _StandardOutput(old.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), old.encoding, old.errors, line_buffering=old.isatty()
    )


def silence_stdout() -> None:
    """Let what is still to be written to standard output go nowhere."""
    fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(fd, _STDOUT)
    os.close(fd)
