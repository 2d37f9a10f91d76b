"""Become the process of the server: nothing of the caller, and out of the container's reach."""

from __future__ import annotations

import os

from sundog.base.cpython import (
    SIG_BLOCK,
    pthread_sigmask,
    valid_signals,
)
from sundog.base.kernel.files import STDERR_FILENO, leave_descriptors
from sundog.base.kernel.process import PR_SET_NAME, clear_command_line, prctl, set_dumpable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_SERVER_NAME = b"sundog-fuse"  # as ps(1) shows it


def become_server(kept: Collection[int]) -> None:
    """Keep only the descriptors ``kept``, and let no program trace or signal this process's work.

    Call it before the container's command starts.  Raises KernelError and OSError.
    """
    leave_descriptors(kept)
    # The terminal's and the batch system's signals are for the command; the server ends after it.
    pthread_sigmask(SIG_BLOCK, valid_signals())
    set_dumpable(False)
    clear_command_line()  # it has values of --set-env
    prctl(PR_SET_NAME, b"PR_SET_NAME", _SERVER_NAME)
    os.chdir(b"/")


def end_messages_after(caller: int) -> None:
    """Leave standard error when the process of the pidfd ``caller`` ends.

    Who reads its messages up to their end must not wait for what it leaves in the container.
    """
    from select import POLLIN, poll  # noqa: PLC0415 - few servers have messages

    null = os.open(b"/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    ends = poll()
    ends.register(caller, POLLIN)
    while not ends.poll():
        pass
    os.dup2(null, STDERR_FILENO)
