"""What ``ch-run`` inherited, before the shell and the interpreter in front of it changed it.

The command is to find the world that the caller of ``ch-run`` made.  What happened to that:

* Python ignores SIGPIPE and SIGXFSZ.  The stub, a shell script, tells which of them were ignored
  when it was started; the others get their default action back.  So does SIGINT, which Python
  would turn into an exception.
* The shell drops, changes and adds variables.  A child of the stub writes down the environment that
  the stub was started with, and the stub tells the descriptor of that file and the child's process
  ID.  Without the stub, the kernel still knows the environment that Python was started with.

The stub tells ``SIGNALS:``, or ``SIGNALS:DESCRIPTOR:PID``; see packaging/ch-run.

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

# The letters by which the stub tells which signals were ignored.
IGNORED_SIGNALS = (("p", SIGPIPE), ("x", SIGXFSZ))

LOST_HINT = "ch-run needs one of the descriptors 3 to 9, and cat, to hand on all variables"


def restore_signals(told: str) -> None:
    """Give the signals that Python handles the action that they had."""
    ignored, _, _ = told.partition(":")
    for letter, number in IGNORED_SIGNALS:
        if letter not in ignored:
            signal(number, SIG_DFL)
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


def inherited_environment(told: str | None) -> Environment:
    """Return the environment of the caller; ``told`` is None where there is no stub.

    Call it once: it takes the descriptor that the stub tells, and the child process.
    """
    _, _, place = (told or "").partition(":")
    fd, _, pid = place.partition(":")
    # Without a number the shell could not start the child.
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

    A pipe has no more data when the child has ended.  Anything else is read to the end a second
    time after that.
    """
    try:
        text = read_all(fd)
        try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # the caller ignores SIGCHLD; so the child has ended, and left nothing
        text += read_all(fd)
        os.close(fd)
    except OSError:
        return None
    if SIGCHLD in pthread_sigmask(SIG_BLOCK, ()):
        # It is pending now, and would be the command's.
        signal(SIGCHLD, signal(SIGCHLD, SIG_IGN))
    if len(text) < 2 or text[:1] + text[-1:] != b"\n\n":
        return None
    return split_strings(text[1:-1])


def read_all(fd: int) -> bytes:
    """Return what there is to read in ``fd``, to its end."""
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def known_to_kernel() -> list[bytes]:
    """Return the strings with which the interpreter was started."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return split_strings(file.read())
    except OSError:  # no /proc: the container will fail, but not what prints a help text
        return [name + b"=" + value for name, value in environ.items()]


def split_strings(text: bytes) -> list[bytes]:
    """Split an environment as proc_pid_environ(5) shows it: each string ends in NUL."""
    return text.split(b"\0")[:-1]
