"""A limit of time for the scripts of variables that a shell of the image reads.

A process beside the start waits for a byte from that shell.  If none comes in time, it sends this
start SIGALRM, which the shell takes for its end (``apptainer.command``).  A shell that waits for a
command sees it when the command has ended, so that gets SIGKILL; at last the shell does.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from fcntl import F_DUPFD, fcntl

from sundog.base.kernel.files import STDERR_FILENO, Closing, leave_descriptors
from sundog.base.kernel.process import clear_command_line, fork, set_dumpable
from sundog.front.apptainer.command import LIMIT_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATIENCE = 1.0  # seconds between the signals
_LIMIT = 4096  # bytes of a list of children
_FIRST, _LAST = 3, 9  # shells know no descriptor of two digits
_MESSAGE = "FATAL:   the scripts of variables of the image have not ended within {:g} seconds\n"


def with_limit(arguments: Sequence[str], seconds: float) -> list[str]:
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
    process = os.getpid()
    target = os.pidfd_open(process)
    child = fork()
    if child == 0:
        try:
            if fork() == 0:
                _watch(reader, target, process, seconds)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(target)
    os.set_inheritable(told, True)
    image = arguments.index("--") - 1
    return [*arguments[:image], f"--set-env={LIMIT_VARIABLE}='{told}'", *arguments[image:]]


def _watch(reader: int, target: int, process: int, seconds: float) -> None:
    """Wait for the byte; without it, end the ``process``, whose descriptor is ``target``."""
    os.setsid()
    os.chdir("/")
    set_dumpable(False)
    clear_command_line()
    leave_descriptors((STDERR_FILENO, reader, target))
    if select.select([reader, target], [], [], seconds)[0]:
        return
    os.write(STDERR_FILENO, _MESSAGE.format(seconds).encode())
    steps: tuple[Callable[[], None], ...] = (
        lambda: signal.pidfd_send_signal(target, signal.SIGALRM),
        lambda: _end_children(process),
        lambda: signal.pidfd_send_signal(target, signal.SIGKILL),
    )
    for act in steps:
        try:
            act()
        except OSError:
            return  # it has ended
        if select.select([target], [], [], _PATIENCE)[0]:
            return


def _end_children(process: int) -> None:
    """Send SIGKILL to the children of a process.  Raises OSError if it has ended."""
    for child in _children(process):
        with suppress(ProcessLookupError), Closing(os.pidfd_open(child)) as fd:
            if child in _children(process):  # it is not another one by now
                signal.pidfd_send_signal(fd, signal.SIGKILL)


def _children(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children", "rb") as file:
        return [*map(int, file.read(_LIMIT).split())]
