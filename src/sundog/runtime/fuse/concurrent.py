"""Answer the requests of a device of FUSE by several threads, one of which always reads it.

Requests that only look into memory are answered by the thread that has read them.  A request that
may wait, for a disk or for the network, keeps the thread that has read it; before it waits, another
one reads.  If there are as many threads as there may be, the last one reads and answers, and leaves
what may wait to those that finish.  So an interruption always finds a reader.

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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.fuse.files import Buffers, Handler

_THREADS_LIMIT = 32
_LOOK_SECONDS = 0.05  # between two looks at a thread that a signal has interrupted
_KILLED = 1 << (SIGKILL - 1)  # in a set of signals of proc_pid_status(5)
_PARTS_LIMIT = 1000  # of an answer: writev(2) takes 1024

# unique, opcode, node, body
_Request = tuple[int, int, int, bytes]


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
        self._readers = 1  # threads that read the device, or are about to
        self._waiting: list[_Request] = []
        self._unanswered: dict[int, int] = {}  # unique number → thread that waits
        self._interrupted: set[int] = set()

    def serve(self) -> None:
        """Answer until the file system is gone.  Raises OSError."""
        request = bytearray(REQUEST_SIZE)
        while True:
            own = self._read(request)
            if own is None:
                with self._lock:
                    if not self._is_over:
                        self._is_over = True
                        self._ended()
                return
            while own is not None:
                self._answer_slow(own)
                own = self._next()

    def _read(self, request: bytearray) -> _Request | None:
        """Read and answer requests, up to one that may wait; None if the file system is gone."""
        view = memoryview(request)
        head = REQUEST_HEAD.size
        while True:
            try:
                length = os.readv(self._device, [request])
            except OSError as error:
                if error.errno in READ_AGAIN:
                    continue
                if error.errno == errno.ENODEV:
                    return None
                raise
            _, opcode, unique, node, thread = REQUEST_HEAD.unpack_from(request)
            if opcode == READ:
                own = unique, opcode, node, bytes(view[head:length])
                if self._take(own, thread):
                    return own
            elif opcode == INTERRUPT:
                self._interrupt(unique, *INTERRUPT_IN.unpack_from(request, head))
            elif opcode not in UNANSWERED:
                self._reply(unique, *self._answer(opcode, node, view[head:length]))

    def _take(self, own: _Request, thread: int) -> bool:
        """Note a request that may wait; tell whether this thread may wait for it."""
        with self._lock:
            self._unanswered[own[0]] = thread
            if self._readers > 1:
                self._readers -= 1
                return True
            if self._threads < _THREADS_LIMIT:
                self._threads += 1
                start_new_thread(self._serve_more, ())
                return True
            self._waiting.append(own)
            return False

    def _serve_more(self) -> None:
        try:
            self.serve()
        except BaseException:
            os._exit(1)  # the kernel closes the device

    def _next(self) -> _Request | None:
        """Return a request that a thread has left to this one; None: it is to read the device."""
        with self._lock:
            if self._waiting:
                return self._waiting.pop(0)
            self._readers += 1
            return None

    def _answer_slow(self, own: _Request) -> None:
        unique, opcode, node, body = own
        if unique not in self._unanswered:
            return  # its thread was killed
        answer = self._answer(opcode, node, memoryview(body))
        with self._lock:
            is_wanted = self._unanswered.pop(unique, None) is not None
        if is_wanted:
            self._reply(unique, *answer)

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
