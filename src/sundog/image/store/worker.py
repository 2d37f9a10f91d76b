"""The tree worker: one process that is root over the store's trees.

In a user namespace of its own, 0 → the user, it has CAP_DAC_OVERRIDE over the user's files, so
modes such as 0000 are no obstacle and need not change; ``security.capability`` reads back as
version 2, and overlayfs's ``work`` directories can be removed (user_namespaces(7)).  The first call
forks the worker.  It serves one call at a time, and dies with its parent.
"""

from __future__ import annotations

import gc
import os
import select
import signal
from contextlib import suppress

from sundog.base.kernel.files import close_all_but
from sundog.base.kernel.namespaces import CLONE_NEWUSER, unshare, write_id_maps
from sundog.base.kernel.process import fork, set_pdeathsig
from sundog.base.wire.outcomes import pack_exception, pack_result, unpack_outcome
from sundog.base.wire.values import pack_value, unpack_value
from sundog.errors import KernelError, StoreError
from sundog.runtime.process.child import STANDARD_STREAMS
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

_LENGTH_SIZE = 8


class TreeWorker:
    """A process in which ``call`` runs functions; the first call starts it."""

    def __init__(self) -> None:
        self._pid = 0
        self._requests = -1
        self._answers = -1

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one of the functions of ``worker_protocol.TASKS`` in the worker and return its value.

        Arguments and value are of types that ``worker_protocol`` lets pass.  An exception of the
        function is raised here.  Raises KernelError when the kernel refuses user namespaces,
        StoreError when the worker has died.
        """
        from sundog.image.store.worker_protocol import put_together, take_apart

        if not self._pid:
            self.start()
        try:
            send(self._requests, pack_value((function.__name__, args, kwargs), take_apart))
            self._wait()
            answer = receive(self._answers)
        except BrokenPipeError:
            answer = None
        except BaseException:  # ^C: the answer to this call must not meet the next one
            self.close()
            raise
        if answer is None:
            raise self._obituary(function.__name__)
        return unpack_outcome(answer, put_together)  # type: ignore[return-value]

    @property
    def root(self) -> bytes:
        """A path by which this process sees the root directory with the mounts of the worker.

        Behind it, an absolute symbolic link leads to this process's own root.
        """
        return b"/proc/%d/root" % self._pid

    def kill(self) -> None:
        """Kill the worker.  May be called from another thread than the one in ``call``."""
        with suppress(ProcessLookupError):
            if pid := self._pid:
                os.kill(pid, signal.SIGKILL)

    def leave_to_parent(self) -> None:
        """Have no worker yet, in a process that was forked: the one so far is its parent's."""
        if self._pid:
            os.close(self._requests)
            os.close(self._answers)
            self._pid = 0

    def close(self) -> int:
        """End the worker, if there is one; return its exit status (negative: a signal)."""
        if not self._pid:
            return 0
        os.close(self._requests)
        os.close(self._answers)
        # The end of the request pipe would not do: later children of this process hold it open.
        os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def start(self, get_ready: Callable[[], None] | None = None) -> None:
        """Fork the worker ahead of the first call.  Call this while the process has no threads.

        ``get_ready`` runs in the worker before it serves calls, and may use all descriptors.
        Without it, the worker keeps none of this process: the other end of a pipe must see when
        this process has closed it.
        """
        request_read, self._requests = os.pipe()
        self._answers, answer_write = os.pipe()
        parent = os.getpid()
        ids = os.geteuid(), os.getegid()
        self._pid = fork()
        if not self._pid:
            if get_ready is None:
                # Objects of the parent must not close descriptor numbers that are in use again.
                gc.freeze()
                close_all_but((*STANDARD_STREAMS, request_read, answer_write))
            else:
                os.close(self._requests)
                os.close(self._answers)
            _serve(request_read, answer_write, parent, ids, get_ready)
        os.close(request_read)
        os.close(answer_write)

    def _wait(self) -> None:
        """Wait for the answer; show meanwhile how far the worker is."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        WATCH.poll(poll)

    def _obituary(self, task: str) -> StoreError:
        status = self.close()
        cause = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return StoreError(
            f"the process that works on the storage died during {task}: {cause}",
            "perhaps the machine ran out of memory; nothing is lost, run the command again",
        )


def _serve(
    requests: int,
    answers: int,
    parent: int,
    ids: tuple[int, int],
    get_ready: Callable[[], None] | None,
) -> NoReturn:
    """Run as the worker: answer requests until their pipe ends.  Never returns."""
    status = 1
    try:
        # The parent handles ^C, and decides whether the call goes on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        refusal = _become_root(parent, *ids)
        if get_ready is not None and refusal is None:
            with suppress(Exception):  # what fails here will fail again in the call
                get_ready()
        while (request := receive(requests)) is not None:
            send(answers, _outcome(request) if refusal is None else pack_exception(refusal))
        status = 0
    except BrokenPipeError:
        status = 0
    finally:
        os._exit(status)


def _become_root(parent: int, uid: int, gid: int) -> KernelError | None:
    try:
        unshare(CLONE_NEWUSER)
        write_id_maps(0, 0, uid, gid)
        set_pdeathsig(signal.SIGKILL)
    except KernelError as error:
        from sundog.base.kernel.advice import hint_of

        error.hint = hint_of(error)
        return error
    if os.getppid() != parent:
        os._exit(0)
    os.umask(0o022)
    return None


def _outcome(request: bytes) -> bytes:
    """Run a request; return its outcome as bytes."""
    from sundog.image.store.worker_protocol import put_together, take_apart, task

    try:
        match unpack_value(request, put_together):
            case (str(name), tuple(args), dict(kwargs)):
                named = {str(keyword): value for keyword, value in kwargs.items()}
                return pack_result(task(name)(*args, **named), take_apart)
        raise ValueError("not a request")
    except Exception as error:
        return pack_exception(error)


def send(fd: int, data: bytes) -> None:
    """Write one message."""
    rest = memoryview(len(data).to_bytes(_LENGTH_SIZE, "big") + data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def receive(fd: int) -> bytes | None:
    """Read one message; None when the other end is closed, also in the middle of one."""
    length = _read(fd, _LENGTH_SIZE)
    return None if length is None else _read(fd, int.from_bytes(length, "big"))


def _read(fd: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(fd, min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)
