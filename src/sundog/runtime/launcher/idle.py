"""A process that stays idle in place of a command: so a container lasts without one.

``sundog apptainer instance`` asks for it by $SUNDOG_IDLE, a descriptor.  The process tells by it
that the container is there.  It never becomes a program of the image, and it is not dumpable:
programs of the container can neither trace it nor open its files.  The processes that end a
container do not see it then, either.  So it ends by itself with the keeper of its group.

``request`` imports this module for that variable.  In the wheel it is in a joined module of its
own.
"""

from __future__ import annotations

import os

from sundog.base.cpython import (
    SIG_DFL,
    SIG_SETMASK,
    SIGTERM,
    pthread_sigmask,
    signal,
    valid_signals,
)
from sundog.base.kernel.files import leave_descriptors
from sundog.base.kernel.process import set_dumpable
from sundog.runtime.launcher.option_numbers import parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.cpython import socket

_READY = b"+"


class Idle:
    """The end of a start that has no command; ``text`` is the number of a descriptor."""

    __slots__ = ("_told",)

    def __init__(self, text: bytes) -> None:
        """Read the number.  Raises SundogError."""
        self._told = parse_number(text, "SUNDOG_IDLE")

    def stay(self, keeper: socket) -> int:
        """Tell that the container is there, and wait for the end of the keeper; return 0.

        ``keeper`` is the connection to it.  SIGTERM ends this process, no other signal but SIGKILL
        does.  The process holds nothing of its caller then.  Raises OSError if nobody listens.
        """
        pthread_sigmask(SIG_SETMASK, valid_signals() - {SIGTERM})
        signal(SIGTERM, SIG_DFL)
        set_dumpable(False)
        os.write(self._told, _READY)
        leave_descriptors((keeper.fileno(),))
        keeper.recv(1)  # nothing comes
        return 0
