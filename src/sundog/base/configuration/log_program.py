"""A program that gets a line of the log: in a process of its own, for which nobody waits.

The process begins outside of the container's namespaces, before the line is known, and holds
nothing of the start.  So a program that hangs keeps no mount, no lock and no terminal.
"""

from __future__ import annotations

import os

from sundog.base.cpython import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    alarm,
    getsignal,
    pthread_sigmask,
    signal,
    socketpair,
    valid_signals,
)
from sundog.base.kernel.files import STDIN_FILENO, leave_descriptors
from sundog.base.kernel.process import fork
from sundog.base.kernel.stub import await_child, discard_child_signal

_SECONDS = 60  # a program that hangs ends by SIGALRM then: a table of processes has an end
_MESSAGE_LIMIT = 1 << 13  # bytes
_DIRECTORIES = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED = (b"HOME", b"USER", b"LOGNAME")  # variables; others may be secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.lost_lines import LostLines
    from sundog.base.cpython import socket
    from sundog.base.record.location import Variables


class LogProgram:
    """The process that becomes ``command``, words with spaces between, once it gets a line.

    It ends if this process ends before that.  If it can't execute the program, it adds the number
    that came with the line to ``lost``.  Raises OSError.
    """

    __slots__ = ("_channel",)

    def __init__(self, command: bytes, environment: Variables, lost: LostLines) -> None:
        self._channel, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        between = fork()
        if between == 0:
            # The command must not have a child that it does not know.  So the parent ends.
            try:
                os.setsid()
                if fork() == 0:
                    _become(theirs, command.split(), environment, lost)
            finally:
                os._exit(0)
        await_child(between)
        discard_child_signal()
        theirs.close()

    def send(self, line: bytes, lost: int) -> None:
        """Send the line, without waiting.  Raises OSError if the process has ended."""
        try:
            self._channel.send(b"%d %b" % (lost, line), MSG_DONTWAIT | MSG_NOSIGNAL)
        finally:
            self._channel.close()


def _become(channel: socket, words: list[bytes], environment: Variables, lost: LostLines) -> None:
    """Wait for a line, and become the program.  Returns if there is none, or no program."""
    leave_descriptors((channel.fileno(), *lost.descriptors()))
    message = channel.recv(_MESSAGE_LIMIT)
    if not message:
        return
    count, _, line = message.partition(b" ")
    read_end, write_end = os.pipe()
    os.write(write_end, line)  # a page: it fits
    os.dup2(read_end, STDIN_FILENO)
    for number in valid_signals():
        if getsignal(number) == SIG_IGN:
            signal(number, SIG_DFL)
    pthread_sigmask(SIG_SETMASK, ())
    alarm(_SECONDS)
    try:
        os.chdir(b"/")
        variables = {name: environment.get(name) or b"" for name in _PASSED}
        os.execve(words[0], words, {**variables, b"PATH": _DIRECTORIES})
    except OSError:
        lost.add(int(count))
