"""The standard streams of a command: open, and with errors that name them."""

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
    """Open closed standard streams as /dev/null.

    Otherwise the next opened file gets the number of a closed stream, and the output of RUN would
    go into that file.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
    # Python sets a stream to None that was closed at its start.
    sys.stdin = sys.stdin or os.fdopen(_STDIN, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", closefd=False)


class _StandardOutput(io.FileIO):
    """Standard output whose OSErrors carry the file name /dev/stdout."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _NAME_OF_STDOUT
            raise


def name_stdout() -> None:
    """Have errors of standard output name it, so that no other file is suspected."""
    old = sys.stdout
    raw = _StandardOutput(old.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), old.encoding, old.errors, line_buffering=old.isatty()
    )


def silence_stdout() -> None:
    """Discard all further standard output."""
    fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(fd, _STDOUT)
    os.close(fd)
