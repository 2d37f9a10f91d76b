"""The text of a Dockerfile as physical lines, and the errors that show a fault in it.

Line numbers start at 1, columns at 0.  This module does not know what the text means.
"""

from __future__ import annotations

from sundog.base.kernel.libc import escaped
from sundog.errors import DockerfileError

_WIDTH = 100  # of the shown part of a source line
_BEFORE = 40  # of that part, before the marker
_MESSAGE_WIDTH = 500  # of a message, because it may quote the source


class Fault(Exception):
    """A fault from ``start`` to ``end`` of the logical line that is being parsed."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


class Source:
    """A Dockerfile's physical lines, without their newlines but with carriage returns."""

    __slots__ = ("lines", "path")

    def __init__(self, text: str | bytes, path: str) -> None:
        if isinstance(text, bytes):
            # Bytes that are not UTF-8 survive: os.fsencode gives the same bytes back.
            text = text.decode("utf-8", "surrogateescape")
        self.path = path
        self.lines = text.removeprefix("\ufeff").split("\n")
        if not self.lines[-1]:
            self.lines.pop()

    def error(
        self, message: str, line: int, start: int = 0, end: int | None = None, hint: str = ""
    ) -> DockerfileError:
        """Make the error that shows columns ``start`` to ``end`` of ``line`` with a marker.

        Without ``end``, the marker covers the whole line.
        """
        excerpt = ""
        if line <= len(self.lines):
            text = self.lines[line - 1].rstrip()
            if end is None:
                start, end = len(text) - len(text.lstrip()), len(text)
            excerpt = _excerpt(text, line, start, end)
        if len(message) > _MESSAGE_WIDTH:
            message = f"{message[: _MESSAGE_WIDTH // 2]}…{message[-_MESSAGE_WIDTH // 2 :]}"
        return DockerfileError(message, path=self.path, line=line, excerpt=excerpt, hint=hint)


def _excerpt(text: str, line: int, start: int, end: int) -> str:
    """Draw a source line and below it ``~~^``, or only ``^`` if something is missing."""
    start = min(start, len(text))
    end = min(max(end, start + 1), max(len(text), start + 1))
    left = max(0, start - _BEFORE) if len(text) > _WIDTH else 0
    right = left + _WIDTH
    before, after = "…" if left else "", "…" if len(text) > right else ""
    shown = before + _shown(text[left:right]) + after
    # Tabs stay in the margin, so that it is as wide as the text above it.
    margin = "".join("\t" if char == "\t" else " " for char in before + _shown(text[left:start]))
    marker = "~" * (len(_shown(text[start : min(end, right)])) - 1) + "^"
    number = f"{line:4} | "
    return f"{number}{shown}\n{' ' * (len(number) - 2)}| {margin}{marker}"


def _shown(text: str) -> str:
    """Return ``text`` as it will be printed, so that the marker is below the marked text."""
    return escaped(text, "\t")
