"""A lock that this process holds."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


class HeldLock:
    """A lock on the open file ``fd``: ``release`` it once, or use it as a context."""

    def __init__(self, fd: int, give_up: Callable[[], None]) -> None:
        self.fd = fd
        self._give_up = give_up

    def release(self) -> None:
        """Give up the lock, and close the file."""
        try:
            self._give_up()
        finally:
            os.close(self.fd)

    def leave_to_parent(self) -> None:
        """Close the file of a process that was forked since: its parent still holds the lock."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
