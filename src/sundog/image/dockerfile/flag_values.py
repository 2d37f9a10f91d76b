"""Times and numbers as values of flags.

Specification: the Dockerfile reference, HEALTHCHECK; times are as of ParseDuration in Go's package
time.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.dockerfile.flags import Flags

# Units of time, in nanoseconds; people use both the micro sign and the Greek letter.
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_AMOUNT = rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(sorted(_UNITS, key=len, reverse=True))})"
_DURATION_LIMIT = 100  # characters
_NANOSECONDS_LIMIT = 2**63  # Docker counts nanoseconds in 64 bits


def duration(flags: Flags, name: str) -> int:
    """Return a flag's time in nanoseconds; 0 if it is not given."""
    flag = flags.find(name)
    if flag is None or flag.value == "0":
        return 0
    text = (flag.value or "").removeprefix("+")
    # The length has a bound, because the search for amounts restarts at each digit.
    amounts = list(re.finditer(_AMOUNT, text)) if len(text) <= _DURATION_LIMIT else []
    total = sum(float(found[1]) * _UNITS[found[2]] for found in amounts)
    if not amounts or "".join(found[0] for found in amounts) != text or total >= _NANOSECONDS_LIMIT:
        raise flag.word.fault(f"--{name}: not a time: {flag.value!r}", hint="as in 1m30s or 500ms")
    nanoseconds = int(total)
    if 0 < nanoseconds < _UNITS["ms"]:
        raise flag.word.fault(f"--{name}: {flag.value} is less than 1ms")
    return nanoseconds


def number(flags: Flags, name: str) -> int:
    """Return a flag's number; 0 if it is not given."""
    flag = flags.find(name)
    if flag is None:
        return 0
    text = flag.value or ""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise flag.word.fault(f"--{name}: not a number: {text!r}")
    return int(text)
