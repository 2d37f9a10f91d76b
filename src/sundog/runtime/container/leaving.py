"""Leave the terminal, the pipes and the signals of the caller."""

from __future__ import annotations

import os

from sundog.base.cpython import (
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
from sundog.base.kernel.files import leave_descriptors
from sundog.base.kernel.process import PR_SET_NAME, clear_command_line, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TERMINAL_SIGNALS = (SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU)


def leave_caller(kept: Sequence[int], name: bytes) -> None:
    """Keep only the descriptors ``kept`` and nothing of the caller's terminal, pipes and signals.

    The reader at the other end of a pipe must see when the command has closed it.  ``name`` becomes
    the name of the process.
    """
    os.setsid()
    os.chdir(b"/")
    for number in _TERMINAL_SIGNALS:
        signal(number, SIG_IGN)
    signal(SIGCHLD, SIG_DFL)
    pthread_sigmask(SIG_SETMASK, ())
    leave_descriptors(kept)
    prctl(PR_SET_NAME, b"PR_SET_NAME", name)
    clear_command_line()
