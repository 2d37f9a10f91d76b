"""Start threads, and wait for what they have done; a limit on their number has a reason."""

from __future__ import annotations

import errno
import queue
import threading
from contextlib import suppress

from sundog.base.kernel.libc import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")

_LOOK_SECONDS = 0.5


def started(work: Callable[..., None], *arguments: object) -> threading.Thread:
    """Start a thread; raise KernelError when RLIMIT_NPROC allows no more."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise kernel_error("fork", b"", errno.EAGAIN, "start another thread") from error
    return thread


def taken(items: queue.SimpleQueue[_T]) -> _T:
    """Return the next of ``items``; a signal breaks the wait off.

    A signal that comes just before the wait for a lock would not, so the wait is in parts.
    """
    while True:
        with suppress(queue.Empty):
            return items.get(timeout=_LOOK_SECONDS)
