"""``{{ NAME }}`` in a definition file, and the values: ``--build-arg`` and ``%arguments``.

Specification: Apptainer's user guide, version 1.4, “Templating”.  Where it is silent, Apptainer's
tests: behind a ``#`` in the same line nothing is substituted, except in ``#!``; and ``{{`` that
begins no such word stays as it is.  A value may name others, and what these name stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sundog.errors import UsageError
from sundog.image.definition.values import Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sundog.errors import DockerfileError

_PLACE = re.compile(r"\{\{\s*+(\w++)\s*+\}\}")
_COMMENT = re.compile("#[^!]")
ROOM_LIMIT = 16 << 20  # characters that values add to a file
_TOO_LARGE = f"the values of {{{{ }}}} add more than {ROOM_LIMIT >> 20} MiB to the file"
_SHORTER = "name them less often, or make them shorter"
_GIVE = "give one by --build-arg NAME=VALUE, or in a section %arguments"


def read_values(texts: Iterable[str], where: str) -> dict[str, str]:
    """Read lines ``NAME=VALUE``; raise UsageError, which names ``where`` they come from."""
    values = {}
    for text in texts:
        name, value = name_and_value(text)
        if not name:
            raise UsageError(f"{where}: not NAME=VALUE: {text}", "write NAME=VALUE")
        values[name] = value
    return values


def name_and_value(text: str) -> tuple[str, str]:
    """Split ``NAME=VALUE`` and strip both; the name is "" if the text is no such pair."""
    name, equals, value = text.partition("=")
    return (name.strip() if equals else "", value.strip())


class NoRoom(Exception):
    """The values are larger in total than they may be."""


class Room:
    """The number of characters that values may still add to a file."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, text: str) -> str:
        """Return ``text``, which is added; raise NoRoom."""
        self._left -= len(text)
        if self._left < 0:
            raise NoRoom
        return text


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one stage: ``given`` on the command line, else its ``defaults``.

    ``used`` collects the names that the file has, and ``whole`` their values.
    """

    given: Mapping[str, str]
    defaults: Mapping[str, str]
    room: Room
    used: set[str] = field(default_factory=set)
    whole: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """Return the value of a name, with values that it names; None if there is none.

        Raises NoRoom.
        """
        if name not in self.whole:
            value = self._plain(name)
            if value is None:
                return None
            self.used.add(name)
            self.whole[name] = _PLACE.sub(self._inner, value)
        return self.room.take(self.whole[name])

    def _plain(self, name: str) -> str | None:
        return self.given.get(name, self.defaults.get(name))

    def _inner(self, found: re.Match[str]) -> str:
        value = self._plain(found[1])
        if value is None:
            return found[0]
        self.used.add(found[1])
        return self.room.take(value)


def substituted(
    lines: Sequence[Line], values: Values, error: Callable[[str, int, str], DockerfileError]
) -> list[Line]:
    """Return ``lines`` with the values in place of their names.

    A line that a value adds has the number of the line that names it.  Raises ``error`` of a
    message, a line and a hint for a name without value, and for values without room.
    """
    text = "\n".join(line.text for line in lines)
    if "{{" not in text:
        return list(lines)
    result = _Result(lines)
    comments = _Comments(text)
    end = 0
    for found in _PLACE.finditer(text):
        if comments.hide(found.start()):
            continue
        result.copy(text[end : found.start()])
        try:
            value = values.value(found[1])
        except NoRoom:
            raise error(_TOO_LARGE, result.number, _SHORTER) from None
        if value is None:
            raise error(f"no value for {{{{ {found[1]} }}}}", result.number, _GIVE)
        result.insert(value, found[0].count("\n"))
        end = found.end()
    result.copy(text[end:])
    return result.lines()


class _Comments:
    """Tells about places of ``text``, in their order, whether a comment hides them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._seen = 0
        self._is_hidden = False

    def hide(self, place: int) -> bool:
        begin = self._text.rfind("\n", self._seen, place) + 1
        if begin:  # it is another line than that of the last place
            self._is_hidden = False
        if not self._is_hidden:
            start = begin or max(0, self._seen - 1)
            self._is_hidden = _COMMENT.search(self._text, start, place) is not None
        self._seen = place
        return self._is_hidden


class _Result:
    """The lines after substitution, as they grow."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._source = lines
        self._at = 0  # in ``lines``
        self._done: list[Line] = []
        self._pieces: list[str] = []
        self._start = lines[0].number  # of the line that grows

    @property
    def number(self) -> int:
        """The number of the line that is read."""
        return self._source[self._at].number

    def copy(self, text: str) -> None:
        """Add ``text`` of the file."""
        self._add(text, 1)

    def insert(self, text: str, removed: int) -> None:
        """Add a value in place of something with ``removed`` newlines."""
        self._add(text, 0)
        self._at += removed

    def lines(self) -> list[Line]:
        """Return all lines."""
        return [*self._done, Line(self._start, "".join(self._pieces))]

    def _add(self, text: str, step: int) -> None:
        first, *more = text.split("\n")
        self._pieces.append(first)
        for each in more:
            self._done.append(Line(self._start, "".join(self._pieces)))
            self._pieces = [each]
            self._at += step
            self._start = self.number
