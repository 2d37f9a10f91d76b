"""Hooks: programs of the runtime's caller that run at stages of a container's life.

Specification: runtime-spec, config.md "POSIX-platform Hooks".  The state is on standard input.  A
hook's output is shown if it fails.  This module works after a change of root, too.
"""

from __future__ import annotations

import errno
import os
import select
import time

from sundog.base.cpython import (
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGKILL,
    SIGPIPE,
    pthread_sigmask,
    signal,
)
from sundog.base.kernel.files import (
    STDERR_FILENO,
    STDIN_FILENO,
    STDOUT_FILENO,
    close_all_but,
    fail_with_efbig,
)
from sundog.base.kernel.libc import printable
from sundog.base.kernel.process import fork, fork_below
from sundog.errors import KernelError, SundogError
from sundog.runtime.process.executable import expected_failure
from sundog.runtime.process.last_step import take_last_step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class HookProgram(Protocol):
        """A program with its arguments; ``timeout`` is in seconds, None for no limit."""

        @property
        def path(self) -> bytes: ...  # noqa: D102
        @property
        def args(self) -> Sequence[bytes]: ...  # noqa: D102
        @property
        def env(self) -> Sequence[bytes]: ...  # noqa: D102
        @property
        def timeout(self) -> int | None: ...  # noqa: D102


_HOOK_OUTPUT_LIMIT = 4096  # bytes of a hook's output that an error shows
_HOOK_OUTPUT_PIECE = 1 << 16
_EXIT_NO_PROGRAM = 127
_WAIT_LIMIT = (1 << 31) - 1  # milliseconds: an int of poll(2)


def run_hooks(
    stage: str,
    hooks: Sequence[HookProgram],
    state: bytes,
    directory: bytes = b"",
    proc: int = -1,
) -> None:
    """Run the hooks of a stage, one after the other, in ``directory`` if that is given.

    ``state`` is the container's state as JSON.  ``proc`` is as for ``run_hook``.  Raises
    SundogError for the first that fails.
    """
    for number, hook in enumerate(hooks, 1):
        problem = run_hook(hook, state, directory, proc=proc)
        if problem:
            raise SundogError(f"{stage} hook {number} failed: {printable(hook.path)}: {problem}")


def run_hook(
    hook: HookProgram,
    state: bytes,
    directory: bytes = b"",
    *,
    root: int = -1,
    kept: Sequence[int] = (),
    proc: int = -1,
) -> str:
    """Run one hook; return "", or how it failed.  It may leave processes in the background.

    The hook is a program of the host if there is a ``directory``, in which it runs, or a ``root``,
    the host's root directory; else it is one of the container.  It has the descriptors ``kept``.
    ``proc`` is a /proc of the host, if this process has the container's root: see ``fork_below``.
    """
    state_end, write_end = os.pipe()
    read_end, output = os.pipe()
    child = fork() if proc < 0 else fork_below(proc, fork)
    if child == 0:
        try:
            _be_hook(hook, state_end, output, directory=directory, root=root, kept=kept)
        finally:
            os._exit(_EXIT_NO_PROGRAM)
    os.close(state_end)
    os.close(output)
    process = os.pidfd_open(child)
    deadline = None if hook.timeout is None else time.monotonic() + hook.timeout
    before = signal(SIGPIPE, SIG_IGN)  # a hook need not read its state
    try:
        told, timed_out = _attend(process, write_end, read_end, state, deadline)
    finally:
        signal(SIGPIPE, before or SIG_DFL)
    if timed_out:
        os.kill(child, SIGKILL)
    _, status = os.waitpid(child, 0)
    for fd in (process, read_end):
        os.close(fd)
    if timed_out:
        return f"it ran longer than {hook.timeout} s"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return ""
    how = f"exit status {code}" if code > 0 else f"signal {-code}"
    shown = printable(told.strip())
    return f"{how}: {shown}" if shown else how


def _attend(
    process: int, write_end: int, read_end: int, state: bytes, deadline: float | None
) -> tuple[bytes, bool]:
    """Give a hook its state and take its output until it ends; close ``write_end``.

    Returns the start of its output, and whether the time was up first.
    """
    os.set_blocking(write_end, False)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(read_end, select.POLLIN)
    poll.register(write_end, select.POLLOUT)
    left, told, has_ended = memoryview(state), b"", False
    while not has_ended:
        wait = None
        if deadline is not None:
            left_ms = int((deadline - time.monotonic()) * 1000) + 1
            wait = min(max(0, left_ms), _WAIT_LIMIT)
        events = dict(poll.poll(wait))
        if deadline is not None and time.monotonic() >= deadline and process not in events:
            break
        if write_end in events:
            try:
                left = left[os.write(write_end, left) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                left = left[:0]
            if not left:
                poll.unregister(write_end)
                os.close(write_end)
        if read_end in events:
            piece = os.read(read_end, _HOOK_OUTPUT_PIECE)
            told += piece[: _HOOK_OUTPUT_LIMIT - len(told)]
            if not piece:
                poll.unregister(read_end)
        has_ended = process in events
    if left:
        os.close(write_end)
    return told, not has_ended


def _be_hook(
    hook: HookProgram,
    state_end: int,
    output: int,
    *,
    directory: bytes,
    root: int,
    kept: Sequence[int],
) -> None:
    """Become the hook; return if that fails."""
    if root >= 0:
        os.fchdir(root)
        os.chroot(b".")
    os.dup2(state_end, STDIN_FILENO)
    os.dup2(output, STDOUT_FILENO)
    os.dup2(output, STDERR_FILENO)
    close_all_but((STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, *kept))
    for fd in kept:
        os.set_inheritable(fd, True)
    signal(SIGPIPE, SIG_DFL)
    fail_with_efbig()
    pthread_sigmask(SIG_SETMASK, ())
    if directory:
        os.chdir(directory)
    failure = expected_failure(hook.path)
    if failure in (0, errno.ENOEXEC):
        report = bytes([_EXIT_NO_PROGRAM]) + os.strerror(failure or errno.EACCES).encode()
        arguments = list(hook.args or (hook.path,))
        try:
            failure = -take_last_step(hook.path, arguments, list(hook.env), b"", report)
        except (KernelError, OSError) as error:
            failure = error.errno or errno.EIO
    os.write(STDERR_FILENO, os.strerror(failure).encode())
