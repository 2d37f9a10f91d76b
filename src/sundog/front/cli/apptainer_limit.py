"""A minute for the scripts of variables that a shell of the image reads.

A process beside the start waits for a byte from that shell.  If none comes in time, it sends this
start SIGALRM, which the shell takes for its end (``apptainer.command``), and SIGKILL after that.
"""

from __future__ import annotations

import os
import select
import signal
from fcntl import F_DUPFD, fcntl

from sundog.base.kernel.files import STDERR_FILENO, leave_descriptors
from sundog.base.kernel.process import clear_command_line, fork, set_dumpable
from sundog.front.apptainer.command import LIMIT_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 60.0
_PATIENCE = 1.0  # seconds between the two signals
_FIRST, _LAST = 3, 9  # shells know no descriptor of two digits
_MESSAGE = b"FATAL:   the scripts of variables of the image have not ended within 1 minute\n"


def with_limit(arguments: Sequence[str], seconds: float = SECONDS) -> list[str]:
    """Let this process have ``seconds`` for the scripts; return the words of ``ch-run`` for that.

    ``arguments`` have IMAGE, ``--`` and the words of ``command.after_scripts`` at the end.  If the
    caller has left all descriptors of one digit open, there is no limit.
    """
    reader, writer = os.pipe()
    told = fcntl(writer, F_DUPFD, _FIRST)
    os.close(writer)
    if told > _LAST:
        os.close(told)
        os.close(reader)
        return list(arguments)
    target = os.pidfd_open(os.getpid())
    child = fork()
    if child == 0:
        try:
            if fork() == 0:
                _watch(reader, target, seconds)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(target)
    os.set_inheritable(told, True)
    image = arguments.index("--") - 1
    return [*arguments[:image], f"--set-env={LIMIT_VARIABLE}='{told}'", *arguments[image:]]


def _watch(reader: int, target: int, seconds: float) -> None:
    """Wait for the byte; end the process ``target`` if it does not come."""
    os.setsid()
    os.chdir("/")
    set_dumpable(False)
    clear_command_line()
    leave_descriptors((STDERR_FILENO, reader, target))
    if select.select([reader, target], [], [], seconds)[0]:
        return
    os.write(STDERR_FILENO, _MESSAGE)
    for number in (signal.SIGALRM, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(target, number)
        except ProcessLookupError:
            return
        if select.select([target], [], [], _PATIENCE)[0]:
            return
