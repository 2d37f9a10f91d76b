"""A process of ``ch-run`` that lives on when ``ch-run`` has become the command or has ended.

Floor 0.
"""

import os
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    pthread_sigmask,
    signal,
)

from sundog.kernel.files import (
    STDERR_FILENO,
    STDIN_FILENO,
    STDOUT_FILENO,
    close_all_but,
)
from sundog.kernel.process import PR_SET_NAME, clear_command_line, prctl
from sundog.launcher.inherited import discard_child_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TERMINAL_SIGNALS = (SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU)


def fork_away(call: "Callable[[], None]") -> None:
    """Call ``call`` in a new process that is no child of this one, and ends afterwards."""
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                call()
        finally:
            os._exit(0)
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD
    discard_child_signal()


def leave_caller(kept: "Sequence[int]", name: bytes) -> None:
    """Keep only the descriptors ``kept`` and nothing of the caller's terminal, pipes and signals.

    The reader at the other end of a pipe must see when the command has closed it.  ``name`` becomes
    the name of the process.
    """
    os.setsid()
    os.chdir(b"/")
    for number in TERMINAL_SIGNALS:
        signal(number, SIG_IGN)
    signal(SIGCHLD, SIG_DFL)
    pthread_sigmask(SIG_SETMASK, ())
    null = os.open(b"/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for stream in (STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO):
        if stream not in kept:  # the number is in use if the caller had closed the stream
            os.dup2(null, stream)
    close_all_but((STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, *kept))
    prctl(PR_SET_NAME, b"PR_SET_NAME", name)
    clear_command_line()
