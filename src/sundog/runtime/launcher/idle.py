"""A process that stays idle in place of a command: so a container lasts without one.

``sundog apptainer instance`` asks for it by $SUNDOG_IDLE, a descriptor.  The process tells by it
that the container is there.  It never becomes a program of the image, and it is not dumpable:
programs of the container can neither trace it nor open its files.

``request`` imports this module for that variable.  In the wheel it is in a joined module of its
own.
"""

from __future__ import annotations

import os

from sundog.base.cpython import SIG_BLOCK, SIGTERM, pthread_sigmask, sigwaitinfo, valid_signals
from sundog.base.kernel.files import leave_descriptors
from sundog.base.kernel.process import set_dumpable
from sundog.runtime.launcher.option_numbers import parse_number

_READY = b"+"


class Idle:
    """The end of a start that has no command; ``text`` is the number of a descriptor."""

    __slots__ = ("_told",)

    def __init__(self, text: bytes) -> None:
        """Read the number.  Raises SundogError."""
        self._told = parse_number(text, "SUNDOG_IDLE")

    def stay(self) -> int:
        """Tell that the container is there, and wait for SIGTERM; return the exit status.

        The process holds nothing of its caller then.  Raises OSError if nobody listens.
        """
        pthread_sigmask(SIG_BLOCK, valid_signals())
        set_dumpable(False)
        os.write(self._told, _READY)
        leave_descriptors(())
        sigwaitinfo([SIGTERM])
        return 0
