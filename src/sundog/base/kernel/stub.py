"""The stub's message about its caller.

A shell script, the stub, starts Python for each command of Sundog; see packaging/ch-run.  Its
message is an argument, ``SIGNALS:`` or ``SIGNALS:DESCRIPTOR:PID``.  SIGNALS are letters for the
signals that the caller ignored.  The child PID of the stub writes the environment with which the
stub started to DESCRIPTOR, a file or a pipe.
"""

from __future__ import annotations

import os

from sundog.base.cpython import (
    SIG_BLOCK,
    SIG_IGN,
    SIGCHLD,
    pthread_sigmask,
    signal,
)


def strings_of_caller(told: str) -> list[bytes] | None:
    """Return the environment of the stub's caller; None without a stub, or if it is lost.

    Call the function only once: it closes the descriptor and waits for the child.
    """
    _, _, place = told.partition(":")
    fd, _, pid = place.partition(":")
    # The number is missing if the shell could not start the child.
    return _written_by_child(int(fd), int(pid)) if pid else None


def _written_by_child(fd: int, pid: int) -> list[bytes] | None:
    """Return the strings that the child ``pid`` of the stub writes to ``fd``; None if it failed.

    ``fd`` may be a pipe: then the first read ends when the child has ended.  If ``fd`` is a file,
    the child may still be writing, so a second read follows after the child's end.
    """
    try:
        text = read_all(fd)
        await_child(pid)
        text += read_all(fd)
        os.close(fd)
    except OSError:
        return None
    discard_child_signal()
    if len(text) < 2 or text[:1] + text[-1:] != b"\n\n":
        return None
    return split_strings(text[1:-1])


def await_child(pid: int) -> None:
    """Wait for a child of this process that the command must not know."""
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD: the child has ended, and has left no status


def discard_child_signal() -> None:
    """Discard the SIGCHLD of a child that has ended: the command must not get it."""
    if SIGCHLD in pthread_sigmask(SIG_BLOCK, ()):  # it is pending now, because it is blocked
        signal(SIGCHLD, signal(SIGCHLD, SIG_IGN))


def read_all(fd: int) -> bytes:
    """Read ``fd`` up to its end."""
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def split_strings(text: bytes) -> list[bytes]:
    """Split an environment in the form of proc_pid_environ(5): NUL ends each string."""
    return text.split(b"\0")[:-1]
