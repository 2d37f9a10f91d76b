"""Warnings of the store for the user: the command listens for them.

A command opens the store in many places, and an API has no place for messages.  So there is one
listener for the process.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Advice:
    """The listener of this process."""

    def __init__(self) -> None:
        self.listener: Callable[[str], None] | None = None

    def warn(self, text: str) -> None:
        """Give a warning to the listener, if there is one."""
        if self.listener is not None:
            self.listener(text)


ADVICE = Advice()
