"""Times and sizes in the words of podman and docker.

Specification: podman-logs(1), --since and --until; Go's time.ParseDuration; Docker's go-units.
"""

from __future__ import annotations

import time
from calendar import timegm

from sundog.errors import UsageError
from sundog.front.pflag_values import parse_duration

SECOND = 1_000_000_000  # nanoseconds
_TEXT_LIMIT = 64  # characters of a time
_HINT = "write a duration (10m, 1h30m), a time of RFC 3339 (2006-01-02T15:04:05Z), or a UNIX time"
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def parse_moment(text: str, option: str, now: int) -> int:
    """Return the nanoseconds since 1970 of a time, or of a duration before ``now``.

    Raises UsageError, which names the ``option``.
    """
    if len(text) <= _TEXT_LIMIT and text.isascii():
        duration = parse_duration(text)
        if duration is not None:
            return now - duration
        for read in (_unix_time, parse_rfc3339):
            try:
                return read(text)
            except (ValueError, OverflowError):
                continue
    raise UsageError(f"{option} {text}: not a time", _HINT)


def _unix_time(text: str) -> int:
    seconds, _, fraction = text.partition(".")
    if not seconds.isdecimal() or not (fraction or "0").isdecimal():
        raise ValueError(text)
    return int(seconds) * SECOND + int(fraction[:9].ljust(9, "0"))


def parse_rfc3339(text: str) -> int:
    """Return the nanoseconds of a time of RFC 3339; without a zone it is the local time.

    Raises ValueError and OverflowError.
    """
    if len(text) > _TEXT_LIMIT:
        raise ValueError("too long for a time")
    date, clock = text[:10], text[11:]
    if clock and text[10] not in "Tt ":
        raise ValueError(text)
    zone, offset = clock[len(clock.rstrip("Zz")) :], 0  # minutes
    clock = clock.rstrip("Zz")
    for sign in "+-":
        if sign in clock:
            clock, _, zone = clock.partition(sign)
            digits = zone.replace(":", "")
            if len(digits) != 4 or not digits.isdecimal():
                raise ValueError(text)
            offset = (int(digits[:2]) * 60 + int(digits[2:])) * (1 if sign == "+" else -1)
    clock, _, fraction = clock.partition(".")
    for form in ("%H:%M:%S", "%H:%M", "%H", ""):
        try:
            found = time.strptime(f"{date} {clock}".strip(), f"%Y-%m-%d {form}".strip())
        except ValueError:
            continue
        seconds = timegm(found) if zone else int(time.mktime(found))
        if fraction and not fraction.isdecimal():
            break
        return (seconds - offset * 60) * SECOND + int(fraction[:9].ljust(9, "0"))
    raise ValueError(text)


def written(nanoseconds: int) -> str:
    """Return a time in UTC as RFC 3339 with nanoseconds."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"


def age(seconds: float) -> str:
    """Return a duration in words, such as ``3 days``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for limit, length, unit in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // length} {unit}"
    return f"{whole // 3600 // 24 // 365} years"


def decimal_size(size: int, digits: int, gap: str = "") -> str:
    """Return a number of bytes with ``digits`` significant digits, in units of 1000."""
    amount, unit = float(size), 0
    while amount >= 1000 and unit < len(_SIZES) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.{digits}g}{gap}{_SIZES[unit]}"
