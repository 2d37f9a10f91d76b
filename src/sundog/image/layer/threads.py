"""Start threads; a limit on their number is an error with a reason."""

from __future__ import annotations

import errno
import threading

from sundog.base.kernel.libc import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def started(work: Callable[..., None], *arguments: object) -> threading.Thread:
    """Start a thread; raise KernelError when RLIMIT_NPROC allows no more."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise kernel_error("fork", b"", errno.EAGAIN, "start another thread") from error
    return thread
