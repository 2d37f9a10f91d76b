"""Duplicates of a tracee's descriptors, and fields of its status in proc(5).

A supervisor needs the right to trace the process, as for ``memory``.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import syscall
from sundog.runtime.emulation.notify.tracee.call import U32, KernelAnswers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

_PIDFD_THREAD = os.O_EXCL  # Linux 6.9
_START_TIME = 22  # field of proc_pid_stat(5); the third is the first after the name
_STATUS_PIECE = 4096
_STATUS_LIMIT = 1 << 20  # 65536 groups take 700 kB


def take_descriptor(abi: NotifyAbi, thread: int, fd: int) -> int:
    """Return a duplicate of descriptor ``fd`` of ``thread``.

    Raises KernelAnswers if the thread has ended, or has no such descriptor.
    """
    try:
        try:
            process = os.pidfd_open(thread, _PIDFD_THREAD)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            process = os.pidfd_open(int(status_field(thread, b"Tgid")))
    except OSError as error:
        raise KernelAnswers from error
    try:
        taken = syscall(abi.numbers["pidfd_getfd"], process, fd & U32, 0)
    finally:
        os.close(process)
    if taken < 0:
        raise KernelAnswers
    return taken


def descriptor_flags(thread: int, fd: int) -> int:
    """Return the flags of descriptor ``fd`` of ``thread``, as open(2) has them: proc(5)."""
    try:
        with Closing(os.open(b"%d/fdinfo/%d" % (thread, fd), os.O_RDONLY | os.O_CLOEXEC)) as info:
            _, _, rest = os.read(info, _STATUS_PIECE).partition(b"flags:")
    except OSError as error:
        raise KernelAnswers from error
    return int(rest.split(None, 1)[0], 8)


def status_field(process: int, name: bytes) -> bytes:
    """Return the value of ``name`` in /proc/PID/status.  Raises OSError if the process is gone."""
    _, _, rest = process_status(process).partition(b"\n%s:" % name)
    return rest.partition(b"\n")[0].strip()


def ids_seen_by(thread: int) -> Callable[[int], int]:
    """Return a function from the ID of a process to the one that ``thread`` sees.

    That is 0 if the process has ended, or if its PID namespace is not one that ``thread`` sees.
    Raises OSError if ``thread`` is gone.
    """
    depth = len(status_field(thread, b"NSpid").split())

    def seen(process: int) -> int:
        try:
            numbers = status_field(process, b"NStgid").split()
        except OSError:
            return 0
        return int(numbers[depth - 1]) if len(numbers) >= depth else 0

    return seen


def inner_id(process: int) -> int:
    """Return the ID of ``process`` in its own PID namespace."""
    return int(status_field(process, b"NSpid").split()[-1])


def process_start(process: int) -> bytes:
    """Return when ``process`` started, in clock ticks after the boot; nothing if it has ended."""
    try:
        with Closing(os.open(b"%d/stat" % process, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return os.read(fd, _STATUS_PIECE).rpartition(b")")[2].split()[_START_TIME - 3]
    except OSError:
        return b""


def process_status(process: int) -> bytes:
    """Return the text of /proc/PID/status.  Raises OSError if the process is gone."""
    with Closing(os.open(b"%d/status" % process, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        return status_text(fd)


def status_text(fd: int) -> bytes:
    """Return the text of the open /proc/PID/status ``fd``.  It is long if the groups are many."""
    text = piece = os.read(fd, _STATUS_PIECE)
    while len(piece) == _STATUS_PIECE and len(text) < _STATUS_LIMIT:
        piece = os.read(fd, _STATUS_PIECE)
        text += piece
    return text


def whole_text(fd: int, limit: int) -> bytes:
    """Return the rest of the file ``fd``, up to ``limit`` bytes."""
    pieces, left = [], limit
    while left:
        piece = os.read(fd, min(left, 1 << 20))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
