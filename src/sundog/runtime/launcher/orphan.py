"""A process of ``ch-run`` that lives on when ``ch-run`` has become the command or has ended."""

from __future__ import annotations

import os

from sundog.base.kernel.stub import discard_child_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def fork_away(call: Callable[[], None]) -> None:
    """Call ``call`` in a new process that is no child of this one, and ends afterwards."""
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                call()
        finally:
            os._exit(0)
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD
    discard_child_signal()
