"""The values of Go templates: how they print, and the functions of ``templates`` that take them.

A structure of Go is a ``Structure`` here, a map is a dict, a slice is a list, nil is None, and a
time is a ``Moment``.

Specification: Go's packages text/template and fmt; podman's functions (containers/common, report).
"""

from __future__ import annotations

import json
import time

from sundog.errors import UsageError
from sundog.front.podman.times import parse_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

_SECOND = 1_000_000_000  # nanoseconds
_ZERO = -62_135_596_800 * _SECOND  # Go's zero time: the year 1
_SHOWN = 80  # characters of a mistake
_WIDEST = 4096  # of a field of printf and pad
NO_VALUE = "<no value>"


class Structure(dict[str, "Any"]):
    """A structure: a field that it lacks is a mistake in the template."""


class Moment:
    """A time in nanoseconds since 1970, as Go prints a time in UTC."""

    __slots__ = ("nanoseconds",)

    def __init__(self, nanoseconds: int = _ZERO) -> None:
        self.nanoseconds = nanoseconds

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the time in the configuration of an image; Go's zero time if it is none."""
        try:
            return cls(parse_rfc3339(text))
        except (ValueError, OverflowError):
            return cls()

    @property
    def seconds(self) -> int:
        """The whole seconds since 1970."""
        return self.nanoseconds // _SECOND

    def __str__(self) -> str:
        day, clock = self._words()
        return f"{day} {clock} +0000 UTC"

    def to_json(self) -> str:
        """Return the time as RFC 3339 has it."""
        day, clock = self._words()
        return f"{day}T{clock}Z"

    def _words(self) -> tuple[str, str]:
        if self.nanoseconds == _ZERO:
            return "0001-01-01", "00:00:00"
        seconds, rest = divmod(self.nanoseconds, _SECOND)
        moment = time.gmtime(seconds)
        fraction = f".{rest:09}".rstrip("0").rstrip(".")
        return time.strftime("%Y-%m-%d", moment), time.strftime("%H:%M:%S", moment) + fraction


def shown(value: Any) -> str:
    """Return what ``{{value}}`` prints, and ``%v`` of printf.  Raises UsageError."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Structure):
        if not value:  # the values of a set
            return "{}"
        raise UsageError(
            "template: a structure does not print", f"{{{{json …}}}}, or one of {_listed(value)}"
        )
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_inner(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_inner, value))}]"
    return str(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else shown(value)


def to_json(value: Any) -> str:
    """Return a value as JSON on one line: maps are sorted, structures keep their order."""
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return a value without ``Moment``, its maps sorted."""
    if isinstance(value, Moment):
        return value.to_json()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        keys = list(value) if isinstance(value, Structure) else sorted(value)
        return {key: _plain(value[key]) for key in keys}
    return value


def document(values: list[Any]) -> list[Any]:
    """Return values for ``print_json``."""
    return [_plain(value) for value in values]


def field(value: Any, name: str, path: str) -> Any:
    """Return the field, or the map's value, ``name``; ``path`` is what the template has.

    A map without it gives None.  Raises UsageError if there is no such field.
    """
    if isinstance(value, Structure):
        if name in value:
            return value[name]
        same = [other for other in value if other.lower() == name.lower() and name.isupper()]
        if same:  # podman has .ID beside .Id
            return value[same[0]]
        raise UsageError(f"template: no such field: {path}", f"there are {_listed(value)}")
    if isinstance(value, dict):
        return value.get(name)
    if value is None:
        return None
    raise UsageError(f"template: no fields in a {_kind(value)}: {path}", "see sundog help inspect")


def is_true(value: Any) -> bool:
    """Tell whether Go takes a value for true: it is not empty, zero, false or nil."""
    return isinstance(value, Structure) or bool(value)


def _listed(value: Structure) -> str:
    return ", ".join(f".{name}" for name in value)


def _kind(value: Any) -> str:
    names = {bool: "Boolean", int: "number", str: "string", list: "list", Moment: "time"}
    return names.get(type(value), "map")


def _fault(name: str, why: str) -> UsageError:
    return UsageError(f"template: {name}: {why}", "see the table in the manual of sundog inspect")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _fault(name, f"not a string: {shown(value)}")
    return value


def _number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _fault(name, f"not a number: {shown(value)}")
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, list | str):
            if not 0 <= _number("index", key) < len(value):
                raise _fault("index", f"index out of range: {key}")
            value = value[key]
        elif isinstance(value, dict) and not isinstance(value, Structure):
            value = value.get(_text("index", key), "")
        else:
            raise _fault("index", f"can't index a {_kind(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, list | str):
        raise _fault("slice", f"can't slice a {_kind(value)}")
    start, end, *more = (
        *(_number("slice", bound) for bound in bounds),
        *(0, len(value))[len(bounds) :],
    )
    if more or not 0 <= start <= end <= len(value):
        raise _fault("slice", "index out of range")
    return value[start:end]


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if not isinstance(value, list | dict) or isinstance(value, Structure):
        raise _fault("len", f"a {_kind(value)} has no length")
    return len(value)


def _join(values: Any, gap: Any) -> str:
    if not isinstance(values, list):
        raise _fault("join", f"not a list: {shown(values)}")
    return _text("join", gap).join(map(shown, values))


def _print(*values: Any) -> str:
    """Return the operands, with a blank between two that are no strings."""
    text = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            text += " "
        text += _inner(value)
    return text


def _same(name: str, first: Any, second: Any) -> bool:
    if type(first) is not type(second) or isinstance(first, list | dict):
        raise _fault(name, f"can't compare a {_kind(first)} with a {_kind(second)}")
    return bool(first == second)


def _less(name: str, first: Any, second: Any) -> bool:
    if type(first) is not type(second) or not isinstance(first, int | str):
        raise _fault(name, f"can't compare a {_kind(first)} with a {_kind(second)}")
    return bool(first < second)


def _printf(form: Any, *values: Any) -> str:
    """Return a text by the verbs %s, %v, %d, %q and %t, with flags - and 0 and a width."""
    text, rest = "", _text("printf", form)
    left = list(values)
    while rest:
        before, percent, rest = rest.partition("%")
        text += before
        if not percent:
            break
        digits = rest[: len(rest) - len(rest.lstrip("-0123456789"))]
        verb, rest = rest[len(digits) : len(digits) + 1], rest[len(digits) + 1 :]
        if verb == "%" and not digits:
            text += "%"
            continue
        width = digits.lstrip("-")
        is_wide = len(width) > len(str(_WIDEST)) or ("-" not in width and int(width or 0) > _WIDEST)
        if verb not in _VERBS or "-" in width or is_wide:
            raise _fault("printf", f"no verb like %{digits[:_SHOWN]}{verb}")
        if not left:
            raise _fault("printf", "more verbs than values")
        word = _VERBS[verb](left.pop(0))
        if digits.startswith("-"):
            text += word.ljust(int(width or 0))
        elif width.startswith("0") and verb == "d":
            text += word.zfill(int(width))
        else:
            text += word.rjust(int(width or 0))
    if left:
        raise _fault("printf", "more values than verbs")
    return text


_VERBS: dict[str, Callable[[Any], str]] = {
    "s": _inner,
    "v": _inner,
    "d": lambda value: str(_number("printf: %d", value)),
    "q": lambda value: json.dumps(_inner(value), ensure_ascii=False),
    "t": _inner,
}

# Name: (fewest and most operands, None for any number; the function).  ``and`` and ``or`` are in
# ``templates``, because they do not look at all of their operands.
FUNCTIONS: dict[str, tuple[int, int | None, Callable[..., Any]]] = {
    "eq": (2, None, lambda first, *others: any(_same("eq", first, other) for other in others)),
    "ge": (2, 2, lambda first, second: not _less("ge", first, second)),
    "gt": (2, 2, lambda first, second: _less("gt", second, first)),
    "index": (1, None, _index),
    "join": (2, 2, _join),
    "json": (1, 1, to_json),
    "le": (2, 2, lambda first, second: not _less("le", second, first)),
    "len": (1, 1, _len),
    "lower": (1, 1, lambda text: _text("lower", text).lower()),
    "lt": (2, 2, lambda first, second: _less("lt", first, second)),
    "ne": (2, 2, lambda first, second: not _same("ne", first, second)),
    "not": (1, 1, lambda value: not is_true(value)),
    "print": (0, None, _print),
    "printf": (1, None, _printf),
    "println": (0, None, lambda *values: " ".join(map(_inner, values)) + "\n"),
    "slice": (1, 3, _slice),
    "split": (2, 2, lambda text, gap: _text("split", text).split(_text("split", gap) or None)),
    "title": (1, 1, lambda text: _text("title", text).title()),
    "truncate": (2, 2, lambda text, end: _text("truncate", text)[: _number("truncate", end)]),
    "upper": (1, 1, lambda text: _text("upper", text).upper()),
}
