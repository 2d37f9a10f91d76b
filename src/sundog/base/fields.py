"""JSON objects and TOML tables, read field by field.

What a registry, an archive, a user's file or another program says is checked here and nowhere else:
a value of the wrong type is one clear error that names the place.
"""

from __future__ import annotations

import json

from sundog.base.spelling import value_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from sundog.errors import SundogError

    # The result of json.loads for an object; Fields checks it key by key.
    JsonObject = dict[str, Any]

    # Makes an error of a message.
    _Complaint = Callable[[str], SundogError]

_SIZE_LIMIT = 1 << 63


def parse_json(source: bytes | str, what: str, error: _Complaint) -> object:
    """Return the value of JSON text; raise ``error``, whose message begins with ``what``."""
    try:
        return json.loads(source)
    except ValueError as problem:  # UnicodeDecodeError too
        raise error(f"{what}: not JSON: {problem}") from problem
    except RecursionError as problem:
        raise error(f"{what}: not JSON that can be read: nested too deeply") from problem


class Fields:
    """A JSON object whose reader takes out the known fields; ``rest`` is what is left.

    Every method raises ``error`` when a field has another type; ``what`` begins its message.  A
    field that is null counts as absent.
    """

    # The format's word for an object, and whether a lone string may stand for a list of one.
    OBJECT = "an object"
    TAKES_LONE_STRINGS = True

    def __init__(self, value: object, what: str, error: _Complaint) -> None:
        if not isinstance(value, dict):
            raise error(f"{what}: expected {self.OBJECT}, found {value_kind(value)}")
        self.rest: JsonObject = dict(value)
        self.what = what
        self._error = error

    @classmethod
    def parse(cls, source: bytes | str, what: str, error: _Complaint) -> Self:
        """Return the object that is the value of JSON text."""
        return cls(parse_json(source, what, error), what, error)

    def take(self, key: str) -> object:
        """Remove a field and return its value, None when it is absent."""
        return self.rest.pop(key, None)

    def required_string(self, key: str) -> str:
        """Remove a string and return it; raise the error when it is absent."""
        if self.rest.get(key) is None:
            raise self.wrong(key, "a string", None)
        return self.string(key)

    def string(self, key: str) -> str:
        """Remove a string and return it, "" when it is absent."""
        value = self.take(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, "a string", value)
        return value

    def boolean(self, key: str) -> bool:
        """Remove a truth value and return it, False when it is absent."""
        value = self.take(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def array(self, key: str) -> list[object] | None:
        """Remove a list and return it, None when it is absent."""
        value = self.take(key)
        if value is None or isinstance(value, list):
            return value
        raise self.wrong(key, "a list", value)

    def strings(self, key: str) -> tuple[str, ...] | None:
        """Remove a list of strings and return it, None when it is absent."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, str) and self.TAKES_LONE_STRINGS:  # as Docker does
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings", value)
        return tuple(value)

    def mapping(self, key: str) -> JsonObject:
        """Remove an object and return it, {} when it is absent."""
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(key, self.OBJECT, value)
        return value

    def objects(self, key: str) -> list[Self]:
        """Remove a list of objects and return them, [] when it is absent."""
        return [
            type(self)(value, f"{self.what}: {key} {number}", self._error)
            for number, value in enumerate(self.array(key) or (), 1)
        ]

    def nested(self, key: str, *, required: bool = False) -> Self:
        """Remove an object, {} when it is absent and not required, and return its reader."""
        value = self.take(key) if required else self.mapping(key)
        return type(self)(value, f"{self.what}: {key}", self._error)

    def string_map(self, key: str) -> dict[str, str]:
        """Remove an object with strings as values and return it, {} when it is absent."""
        value = self.mapping(key)
        for name, item in value.items():
            if not isinstance(item, str):
                raise self.wrong(f"{key}: {name}", "a string", item)
        return value

    def size(self, key: str) -> int:
        """Remove a number of bytes and return it; raise the error when it is absent."""
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "a whole number", value)
        if not 0 <= value < _SIZE_LIMIT:
            raise self._error(f"{self.what}: {key}: {value} is not a size")
        return value

    def wrong(self, key: str, expected: str, value: object) -> SundogError:
        """Return the error that says what was found instead of what was expected."""
        return self._error(f"{self.what}: {key}: expected {expected}, found {value_kind(value)}")


class Table(Fields):
    """A TOML table, read in the same way."""

    OBJECT = "a table"
    TAKES_LONE_STRINGS = False
