"""The numbers on ``ch-run``'s command line, and the words for how an image comes.

Values are bytes.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.base.record.identity import ID_LIMIT
from sundog.errors import SundogError

_DIGITS_LIMIT = 18
_ID_HINT = f"it is a number from 0 to {ID_LIMIT}"


def parse_number(value: bytes, name: str, *, more: bool = False) -> int:
    """Return the decimal number ``value`` of the option ``name``, as strtol(3) reads it.

    With ``more`` other characters may follow the digits, as in Slurm's ``36(x2)``.
    """
    digits = value.lstrip()
    sign = digits[:1] if digits[:1] in (b"-", b"+") else b""
    digits = digits[len(sign) :]
    rest = digits.lstrip(b"0123456789")
    digits = digits[: len(digits) - len(rest)]
    if not digits:
        raise SundogError(f"{name}: no digits found", f"{name} takes a whole number")
    if rest and not more:
        raise SundogError(f"{name}: extra characters after digits", f"{name} takes a whole number")
    significant = digits.lstrip(b"0") or b"0"
    if len(significant) > _DIGITS_LIMIT:
        raise SundogError(f"{name}: out of range", f"{name} takes a smaller number")
    return int(sign + significant)


def parse_id(value: bytes, name: str) -> int:
    """Return the uid or gid ``value`` of the option ``name``."""
    number = parse_number(value, name)
    if number < 0:
        raise SundogError(f"{name}: must be non-negative", _ID_HINT)
    if number > ID_LIMIT:
        raise SundogError(f"{name}: out of range", _ID_HINT)
    return number


# How an image starts that is not here: not at all, or while all of it comes, or what is read.
_LAZY_WAYS = (b"no", b"yes", b"ondemand")


def lazy_way(value: bytes, name: str) -> bytes:
    """Return ``value`` of the option or variable ``name``, one of _LAZY_WAYS."""
    if value not in _LAZY_WAYS:
        ways = b", ".join(_LAZY_WAYS).decode()
        raise SundogError(f"{name}: no such way: {printable(value)}", f"one of: {ways}")
    return value
