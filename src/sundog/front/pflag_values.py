"""Values that Go's package pflag takes apart: lists with commas, maps, and durations.

Specification: pflag's StringSlice and StringToString, which read a value by encoding/csv: a field
may stand in double quotes, in which "" stands for one; time.ParseDuration.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.errors import UsageError

_SECOND = 10**9
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": _SECOND}
_UNITS |= {"m": 60 * _SECOND, "h": 3600 * _SECOND}
_LENGTH_LIMIT = 64  # characters of a duration


def fields_of(text: str, complain: Callable[[str], UsageError], escape: str = "") -> list[str]:
    """Return the fields of a line of comma-separated values; "" has none.

    A comma after the character ``escape`` ends no field; both stay.  Raises what ``complain``
    returns for a fault, which is put into words.
    """
    fields: list[str] = []
    place, length = 0, len(text)
    while place < length or (fields and text.endswith(",")):
        if text[place : place + 1] == '"':
            value, place = _quoted(text, place + 1, complain)
        else:
            end = place
            while end < length and text[end] != ",":
                end += 2 if escape and text[end] == escape else 1
            value, place = text[place:end], min(end, length)
            if '"' in value:
                raise complain('a " inside of a field')
        fields.append(value)
        if place >= length:
            break
        place += 1  # the comma
        if place == length:
            fields.append("")
            break
    return fields


def _quoted(text: str, place: int, complain: Callable[[str], UsageError]) -> tuple[str, int]:
    """Return the quoted field that begins at ``place``, and the place behind its last quote."""
    value = ""
    while True:
        end = text.find('"', place)
        if end < 0:
            raise complain('a " without end')
        value += text[place:end]
        if text[end + 1 : end + 2] != '"':
            break
        value, place = value + '"', end + 2
    if text[end + 1 : end + 2] not in ("", ","):
        raise complain('something after the last " of a field')
    return value, end + 1


def pairs_of(text: str, complain: Callable[[str], UsageError]) -> dict[str, str]:
    """Return the pairs NAME=VALUE of a line.  With one ``=`` in it, its commas are the value's.

    Raises what ``complain`` returns for a fault, which is put into words.
    """
    words = [text.strip('"')] if text.count("=") == 1 else fields_of(text, complain)
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise complain(f"not NAME=VALUE: {word}")
        pairs[name] = value
    return pairs


def parse_duration(text: str) -> int | None:
    """Return the nanoseconds of a duration such as ``1h30m`` or ``1.5s``; None if it is none."""
    if len(text) > _LENGTH_LIMIT:
        return None
    rest, total = text, 0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        letters = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        whole, _, fraction = number.partition(".")
        if letters not in _UNITS or not (whole + fraction).isdecimal():
            return None
        unit = _UNITS[letters]
        total += int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        rest = rest[len(letters) :]
    return total if text else None
