"""Times in image configurations, and SOURCE_DATE_EPOCH, which replaces the present time.

Specification: RFC 3339, section 5.6; https://reproducible-builds.org/specs/source-date-epoch/.
"""

from __future__ import annotations

import time

from sundog.errors import UsageError

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
_DIGITS = 11  # up to the year 5138: a longer number is not a time in seconds


def parse_epoch(text: str, where: str) -> int | None:
    """Return the seconds since 1970 that ``text`` says; None if it is empty.

    ``where`` names the place of ``text`` in the message of UsageError.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise UsageError(
            f"{where}: not a number of seconds: {text}", "give seconds since 1970, as date +%s does"
        )
    return int(text)


def timestamp(seconds: int | None = None) -> str:
    """Return the time, in seconds since 1970, as RFC 3339 has it; by default the present one."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
