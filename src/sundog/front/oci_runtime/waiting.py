"""Wait for a container's process in its place: pass signals on, and relay its terminal.

``run`` and ``exec`` do this unless they are detached.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
import time
from fcntl import ioctl

from sundog.base.cpython import AF_UNIX, SOCK_STREAM, socket, socketpair
from sundog.base.kernel.descriptors import receive_message
from sundog.base.kernel.files import write_all
from sundog.runtime.process.typed_input import RawMode, TypedInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.kernel.living_process import Process

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
        if terminal is not None:
            terminal.begin()
        try:
            while True:
                status = reaped(process.pid)
                if status is not None:
                    break
                ready = self._ready(terminal)
                if self._read_end in ready:
                    os.read(self._read_end, _PIECE)
                while self._came:
                    self._pass_on(self._came.pop(0), process, terminal)
                if terminal is not None:
                    terminal.relay(ready)
            if terminal is not None:
                terminal.drain()
        finally:
            if terminal is not None:
                terminal.end()
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _ready(self, terminal: Terminal | None) -> set[int]:
        """Wait for a signal, or for something to relay; return the descriptors that have data."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        due = None
        if terminal is not None:
            due = terminal.due
            for source in terminal.sources:
                poll.register(source, select.POLLIN)
        left = None if due is None else max(0.0, due - time.monotonic()) * 1000
        return {fd for fd, _ in poll.poll(left)}

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

    __slots__ = ("_is_silent", "_master", "_mode", "_ours", "_typed", "theirs")

    def __init__(self) -> None:
        """Make the socket ``theirs`` through which the container sends its terminal's master."""
        self._ours, self.theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self._master = -1
        self._is_silent = True
        self._mode = RawMode(0)
        self._typed: TypedInput | None = None

    def console(self) -> socket:
        """Return the socket for the container."""
        return self.theirs

    @property
    def sources(self) -> set[int]:
        """Return the descriptors to wait for."""
        shown = None if self._is_silent else self._master
        typed = None if self._typed is None else self._typed.source
        return {fd for fd in (shown, typed) if fd is not None}

    @property
    def due(self) -> float | None:
        """Return the time (CLOCK_MONOTONIC, seconds) to ``relay`` without data; None for never."""
        return None if self._typed is None else self._typed.due

    def begin(self) -> None:
        """Take the master; put the user's terminal into raw mode."""
        self.theirs.close()
        _, received = receive_message(self._ours, _NAME_LIMIT)
        self._ours.close()
        if not received:
            return
        self._master = received[0]
        self._is_silent = False
        self._typed = TypedInput(0, self._master)
        self._mode.__enter__()
        self.resize()

    def relay(self, ready: set[int]) -> None:
        """Carry what has come, in both directions."""
        if self._typed is None:
            return
        if self._master in ready:
            self._carry_output()
        if self._typed.source in ready:
            self._typed.carry()
        self._typed.carry_due()

    def drain(self) -> None:
        """Carry the rest of the output."""
        while not self._is_silent and self._carry_output():
            pass

    def resize(self) -> None:
        """Give the container's terminal the size of the user's."""
        if self._master >= 0 and os.isatty(0):
            ioctl(self._master, termios.TIOCSWINSZ, ioctl(0, termios.TIOCGWINSZ, bytes(8)))

    def end(self) -> None:
        """Give the user's terminal its mode back."""
        self._mode.__exit__()
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
            data = b""
        self._is_silent = not data
        write_all(1, data)
        return bool(data)
