"""The step before a thread waits: it lets another one read the device.  See ``concurrent``."""

from __future__ import annotations

import os

from sundog.base.cpython import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_RWF_NOWAIT = 0x8  # linux/fs.h; Python has it with some C libraries only

_before: dict[int, Callable[[], None]] = {}  # by thread


def before_waiting(call: Callable[[], None]) -> None:
    """Let ``about_to_wait`` call this in this thread."""
    _before[get_ident()] = call


def about_to_wait() -> None:
    """Take note that this thread may now wait for a disk, for the network, or for another thread.

    What this raises is for the loop of the thread.
    """
    call = _before.get(get_ident())
    if call is not None:
        call()


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Do what ``os.pread`` does; ``about_to_wait`` unless the page cache has it.  Raises OSError.

    File systems that can't tell fail at once: so those of a cluster.
    """
    buffer = bytearray(size)
    try:
        if os.preadv(fd, [buffer], offset, _RWF_NOWAIT) == size:
            return bytes(buffer)
    except (OSError, NotImplementedError):
        pass
    about_to_wait()
    return os.pread(fd, size, offset)
