"""Answer the requests of a device of FUSE by several threads, one of which always reads it.

A thread answers what it has read.  Before it waits, for a disk or for the network, it lets another
one read: ``waiting``.  What is in memory, or in the page cache, makes no work for a second thread,
and threads of Python that work side by side hinder each other.  If there are as many threads as
there may be, the last one reads and answers, and leaves what would wait to those that finish.  So
an interruption always finds a reader.

The kernel sends INTERRUPT when a signal comes for a thread that waits for an answer, and lets the
thread die only after that answer.  A thread that is dying gets EINTR at once.  The read itself goes
on; nobody waits for it.  Any other thread goes on waiting, as for a disk: a program does not expect
that a signal, such as that of a timer, makes it fail to read a page of its own code.  The kernel
sends INTERRUPT once, so such threads are looked at until they have their answers.
"""

from __future__ import annotations

import errno
import os
import time

from sundog.base.cpython import SIGKILL, allocate_lock, start_new_thread
from sundog.errors import SundogError
from sundog.runtime.fuse.protocol import (
    DESTROY,
    INTERRUPT,
    INTERRUPT_IN,
    READ,
    REPLY_HEAD,
    REQUEST_HEAD,
    REQUEST_SIZE,
    UNANSWERED,
)
from sundog.runtime.fuse.requests import READ_AGAIN
from sundog.runtime.fuse.waiting import before_waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock

    from sundog.runtime.fuse.files import Buffers, Handler

_THREADS_LIMIT = 32
_LOOK_SECONDS = 0.05  # between two looks at a thread that a signal has interrupted
_KILLED = 1 << (SIGKILL - 1)  # in a set of signals of proc_pid_status(5)
_PARTS_LIMIT = 1000  # of an answer: writev(2) takes 1024


class _Left(Exception):
    """This thread must not wait: another one will answer the request."""


class _Request:
    """The READ that a thread answers; of none, ``unique`` is 0.

    ``waits`` says that it may wait, and is among those that an interruption can end.
    """

    __slots__ = ("body", "node", "thread", "unique", "waits")

    def __init__(self, unique: int, node: int, body: memoryview | bytes, thread: int) -> None:
        self.unique = unique
        self.node = node
        self.body = body
        self.thread = thread
        self.waits = False


class ConcurrentService:
    """Answers the requests of ``device`` by its ``handlers``, of which only READ may wait.

    ``ended`` is called once when the file system is gone, while threads may still wait for bytes
    that nobody wants any more.
    """

    def __init__(
        self, device: int, handlers: dict[int, Handler], ended: Callable[[], None]
    ) -> None:
        self._ended = ended
        self._is_over = False
        self._device = device
        self._handlers = handlers
        self._lock = allocate_lock()  # of all that follows
        self._threads = 1
        self._idle: list[Lock] = []  # held locks, for which threads wait
        self._waiting: list[_Request] = []
        self._unanswered: dict[int, int] = {}  # unique number → thread that waits
        self._interrupted: set[int] = set()

    def serve(self) -> None:
        """Answer until the file system is gone.  Raises OSError."""
        request = bytearray(REQUEST_SIZE)
        own = _Request(0, 0, b"", 0)
        before_waiting(lambda: self._let_read(own))
        while self._read(request, own):
            if not self._do_what_is_left(own):
                return
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self._ended()
                for lock in self._idle:
                    lock.release()

    def _read(self, request: bytearray, own: _Request) -> bool:
        """Read and answer requests, until another thread reads; False: the file system is gone."""
        view = memoryview(request)
        head = REQUEST_HEAD.size
        while True:
            try:
                length = os.readv(self._device, [request])
            except OSError as error:
                if error.errno in READ_AGAIN:
                    continue
                if error.errno == errno.ENODEV:
                    return False
                raise
            _, opcode, unique, node, thread = REQUEST_HEAD.unpack_from(request)
            if opcode == READ:
                own.unique, own.node, own.body, own.thread = unique, node, view[head:length], thread
                if self._has_waited(own):
                    return True
            elif opcode == INTERRUPT:
                self._interrupt(unique, *INTERRUPT_IN.unpack_from(request, head))
            elif opcode not in UNANSWERED:
                self._reply(unique, *self._answer(opcode, node, view[head:length]))

    def _has_waited(self, own: _Request) -> bool:
        """Answer a READ, or leave it; tell whether another thread reads the device meanwhile."""
        try:
            answer = self._answer(READ, own.node, memoryview(own.body))
        except _Left:
            own.unique = 0
            return False
        unique, waits = own.unique, own.waits
        own.unique, own.waits = 0, False
        if waits:
            with self._lock:
                if self._unanswered.pop(unique, None) is None:
                    return True  # its thread was killed
        self._reply(unique, *answer)
        return waits

    def _let_read(self, own: _Request) -> None:
        """Let another thread read the device, as this one is about to wait."""
        if not own.unique or own.waits:
            return
        with self._lock:
            self._unanswered[own.unique] = own.thread
            if self._idle:
                self._idle.pop().release()
            elif self._threads < _THREADS_LIMIT:
                self._threads += 1
                start_new_thread(self._serve_more, ())
            else:
                left = _Request(own.unique, own.node, bytes(own.body), own.thread)
                self._waiting.append(left)
                raise _Left
            own.waits = True

    def _serve_more(self) -> None:
        try:
            self.serve()
        except BaseException:
            os._exit(1)  # the kernel closes the device

    def _do_what_is_left(self, own: _Request) -> bool:
        """Answer what others have left, until this thread is to read; False: all is over."""
        idle = allocate_lock()
        idle.acquire()
        while True:
            with self._lock:
                if self._is_over:
                    return False
                if not self._waiting:
                    self._idle.append(idle)
                    break
                left = self._waiting.pop(0)
                if left.unique not in self._unanswered:
                    continue  # its thread was killed
            own.unique, own.node, own.body, own.waits = left.unique, left.node, left.body, True
            self._has_waited(own)
        idle.acquire()
        return not self._is_over

    def _answer(self, opcode: int, node: int, body: memoryview) -> tuple[int, Buffers]:
        """Return the number of an error or 0, and the answer."""
        handler = self._handlers.get(opcode)
        if handler is None:
            return 0 if opcode == DESTROY else errno.ENOSYS, ()
        try:
            return 0, handler(node, body)
        except (SundogError, MemoryError):
            return errno.EIO, ()  # the layer is damaged
        except OSError as error:
            return error.errno or errno.EIO, ()

    def _reply(self, unique: int, number: int, answer: Buffers) -> None:
        size = REPLY_HEAD.size + sum(map(len, answer))
        if len(answer) > _PARTS_LIMIT:  # a file of tiny chunks
            answer = (b"".join(answer),)
        try:
            os.writev(self._device, [REPLY_HEAD.pack(size, -number, unique), *answer])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # the request is gone, or all
                raise

    def _interrupt(self, unique: int, request: int) -> None:
        """Answer a request at once if the thread that waits for it is dying."""
        with self._lock:
            thread = self._unanswered.get(request)
            if thread is not None and not _is_dying(thread):
                self._interrupted.add(request)
                if len(self._interrupted) == 1:
                    start_new_thread(self._look, ())
                return
            self._unanswered.pop(request, None)
        if thread is None:
            self._reply(unique, errno.EAGAIN, ())  # another thread is about to note it
        else:
            self._reply(request, errno.EINTR, ())

    def _look(self) -> None:
        """Look at the threads that were interrupted, until each has its answer."""
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                self._interrupted.intersection_update(self._unanswered)
                dying = [each for each in self._interrupted if _is_dying(self._unanswered[each])]
                for request in dying:
                    del self._unanswered[request]
                self._interrupted.difference_update(dying)
                is_done = not self._interrupted
            for request in dying:
                self._reply(request, errno.EINTR, ())
            if is_done:
                return


def _is_dying(thread: int) -> bool:
    """Tell whether a signal has killed the thread, or nothing is known of it.

    The kernel gives SIGKILL to all threads of a process that a signal ends.
    """
    try:
        with open(b"/proc/%d/status" % thread, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return True
    pending = [int(line.split()[1], 16) for line in lines if line[:7] in (b"SigPnd:", b"ShdPnd:")]
    return not pending or any(signals & _KILLED for signals in pending)
