"""The signals and the environment of ``ch-run``'s caller.

The command must get what the caller of ``ch-run`` set up.  A shell script (the stub) and Python run
before this module, and they change it:

* Python ignores SIGPIPE and SIGXFSZ.  The stub says which of them the caller ignored; the others
  get their default action back.  SIGINT gets it back, too: Python would raise an exception.
* The shell drops, changes and adds variables.  A child of the stub writes the environment with
  which the stub started to a file or a pipe.  The stub says its descriptor and the child's process
  ID.  Without the stub, the kernel still has the environment with which Python started.

The stub's first argument is ``SIGNALS:`` or ``SIGNALS:DESCRIPTOR:PID``; see packaging/ch-run.

Floor 0.
"""

import os
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIGCHLD,
    SIGINT,
    SIGPIPE,
    SIGXFSZ,
    default_int_handler,
    getsignal,
    pthread_sigmask,
    signal,
)
from posix import environ

from sundog.container.variables import Environment
from sundog.launcher.messages import Messages

# The stub's letters for the signals that the caller ignored.
IGNORED_SIGNALS = (("p", SIGPIPE), ("x", SIGXFSZ))

LOST_HINT = "ch-run needs cat and one of the descriptors 3 to 9 to keep all variables"


def restore_signals(told: str) -> None:
    """Undo what Python did to the actions of signals; ``told`` is the stub's first argument."""
    ignored, _, _ = told.partition(":")
    for letter, number in IGNORED_SIGNALS:
        if letter not in ignored:
            signal(number, SIG_DFL)
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


def inherited_environment(told: str | None) -> Environment:
    """Return the environment of the caller.

    ``told`` is the stub's first argument, or None without a stub.  Call the function only once: it
    closes the stub's descriptor and waits for the stub's child.
    """
    _, _, place = (told or "").partition(":")
    fd, _, pid = place.partition(":")
    # The number is missing if the shell could not start the child.
    strings = written_by_child(int(fd), int(pid)) if pid else None
    if strings is None:
        if told is not None:
            Messages().warning(
                f"variables whose names are no shell identifiers may be lost: {LOST_HINT}"
            )
        strings = known_to_kernel()
    return Environment(strings)


def written_by_child(fd: int, pid: int) -> list[bytes] | None:
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


def known_to_kernel() -> list[bytes]:
    """Return the environment strings with which the interpreter started."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return split_strings(file.read())
    except OSError:  # no /proc: a container will fail, but --help must work
        return [name + b"=" + value for name, value in environ.items()]


def split_strings(text: bytes) -> list[bytes]:
    """Split an environment in the form of proc_pid_environ(5): NUL ends each string."""
    return text.split(b"\0")[:-1]
