"""Calls of an emulated root that the kernel refused, because they take a privilege of real root."""

from __future__ import annotations

_LIMIT = 32
_NAME_SIZE = 64


class Refusals:
    """Remembers the last refusals, for people.  The working directory is a /proc."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[str, None] = {}

    def note(self, thread: int, call: str) -> None:
        """Remember that the kernel refuses ``call`` to ``thread``.  Raises OSError if it died."""
        with open(b"%d/comm" % thread, "rb") as file:
            name = file.read(_NAME_SIZE).rstrip(b"\n").decode("utf-8", "backslashreplace")
        text = f"{call} by {name}"
        self._told.pop(text, None)
        self._told[text] = None
        if len(self._told) > _LIMIT:
            del self._told[next(iter(self._told))]

    def told(self) -> list[str]:
        """Return each refused call with the name of its program, the last one last."""
        return list(self._told)
