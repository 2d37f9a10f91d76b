"""Wait for a container's process in its place: pass signals on, and relay its terminal.

``run`` and ``exec`` do this unless they are detached.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
import tty
from _socket import AF_UNIX, SOCK_STREAM, socket, socketpair
from fcntl import ioctl

from sundog.kernel.descriptors import receive_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.oci_runtime.state import Process

_PASSED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
)
_PIECE = 1 << 16
_NAME_LIMIT = 4096


class Watch:
    """Notes signals from before the process exists, so that none is lost."""

    __slots__ = ("_came", "_read_end", "_write_end")

    def __init__(self) -> None:
        self._came: list[int] = []
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in (*_PASSED, signal.SIGCHLD, signal.SIGWINCH):
            if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._came.append(number))

    def wait(self, process: Process, terminal: Terminal | None) -> int:
        """Wait for the end of a child; return its exit status, 128 + N for signal N."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        if terminal is not None:
            terminal.begin(poll)
        try:
            while True:
                status = reaped(process.pid)
                if status is not None:
                    break
                events = dict(poll.poll())
                if self._read_end in events:
                    os.read(self._read_end, _PIECE)
                while self._came:
                    self._pass_on(self._came.pop(0), process, terminal)
                if terminal is not None:
                    terminal.relay(poll, events)
            if terminal is not None:
                terminal.drain()
        finally:
            if terminal is not None:
                terminal.end()
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _pass_on(self, number: int, process: Process, terminal: Terminal | None) -> None:
        if number == signal.SIGWINCH:
            if terminal is not None:
                terminal.resize()
        elif number != signal.SIGCHLD:
            try:
                os.kill(process.pid, number)  # not reaped yet, so the number is its own
            except ProcessLookupError:
                return


def reaped(pid: int) -> int | None:
    """Reap children that have ended; return the wait status of ``pid`` if it is among them."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0  # somebody else has reaped it
        if child == 0:
            return None
        if child == pid:
            return status


class Terminal:
    """The user's terminal in front of the container's one."""

    __slots__ = ("_before", "_master", "_ours", "theirs")

    def __init__(self) -> None:
        """Make the socket ``theirs`` through which the container sends its terminal's master."""
        self._ours, self.theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self._master = -1
        self._before: list[object] | None = None

    def console(self) -> socket:
        """Return the socket for the container."""
        return self.theirs

    def begin(self, poll: select.poll) -> None:
        """Take the master; put the user's terminal into raw mode."""
        self.theirs.close()
        _, received = receive_message(self._ours, _NAME_LIMIT)
        self._ours.close()
        if not received:
            return
        self._master = received[0]
        poll.register(self._master, select.POLLIN)
        poll.register(0, select.POLLIN)
        if os.isatty(0):
            self._before = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)
            self.resize()

    def relay(self, poll: select.poll, events: dict[int, int]) -> None:
        """Carry what has come, in both directions."""
        if self._master in events and not self._carry_output():
            poll.unregister(self._master)
        if 0 in events:
            data = os.read(0, _PIECE)
            if not data:
                poll.unregister(0)
                data = b"\x04"  # the end of a file, for a terminal in its usual mode
            write_all(self._master, data)

    def drain(self) -> None:
        """Carry the rest of the output."""
        if self._master >= 0:
            os.set_blocking(self._master, False)
            while self._carry_output():
                pass

    def resize(self) -> None:
        """Give the container's terminal the size of the user's."""
        if self._master >= 0 and os.isatty(0):
            ioctl(self._master, termios.TIOCSWINSZ, ioctl(0, termios.TIOCGWINSZ, bytes(8)))

    def end(self) -> None:
        """Give the user's terminal its mode back."""
        if self._before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        if self._master >= 0:
            os.close(self._master)

    def _carry_output(self) -> bool:
        """Carry some output; return False if there is none now, or none any more."""
        try:
            data = os.read(self._master, _PIECE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # no process has the terminal open
                raise
            return False
        write_all(1, data)
        return bool(data)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
