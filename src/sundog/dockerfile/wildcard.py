r"""Go's ``filepath.Match``, with which COPY's sources and ignored files are matched.

Specification: https://pkg.go.dev/path/filepath#Match, on Unix: ``*`` and ``?`` match any character
but ``/``, a leading dot included; ``[a-c]``, ``[^a-c]``; a backslash takes the next character as it
is.  And the one thing that ``.dockerignore`` adds: ``**``, any number of directories.
"""

from __future__ import annotations

import re
from functools import lru_cache


class PatternError(ValueError):
    """A pattern that is none; the message says why."""


def has_wildcard(text: str) -> bool:
    """Tell whether ``text`` is a pattern, not just the name that it matches."""
    escaped = False
    for char in text:
        if not escaped and char in "*?[":
            return True
        escaped = char == "\\" and not escaped
    return False


def without_escapes(text: str) -> str:
    """Return the one name that a pattern without wildcards matches."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def compiled(pattern: str) -> re.Pattern[str]:
    """Return an expression whose ``fullmatch`` is Go's Match of one name, which has no ``/``.

    Raises PatternError on a malformed pattern.
    """
    return re.compile(expression(pattern), re.DOTALL)


@lru_cache(maxsize=1024)
def expression(pattern: str, *, deep: bool = False) -> str:
    """Return the regular expression, to be matched with DOTALL, that a pattern stands for.

    With ``deep``, ``**/`` is any number of directories, none too, and ``**`` at the end is
    everything.  Raises PatternError on a malformed pattern.
    """
    result = ""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if deep and pattern.startswith("**", at - 1):
            at += 1
            at += pattern.startswith("/", at)
            result += "(?:.*/)?" if at < len(pattern) else ".*"
        elif char == "*":
            result += "[^/]*"
        elif char == "?":
            result += "[^/]"
        elif char == "[":
            piece, at = _character_class(pattern, at)
            result += piece
        else:
            if char == "\\":
                char, at = _character(pattern, at - 1)
            result += re.escape(char)
    return result


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    """Translate the class behind a ``[``; return it and the place behind its ``]``."""
    negated = pattern.startswith("^", at)
    start = at = at + negated
    ranges = []
    while at == start or not pattern.startswith("]", at):
        low, at = _character(pattern, at, in_class=True)
        high = low
        if pattern.startswith("-", at):
            high, at = _character(pattern, at + 1, in_class=True)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    if ranges:
        return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1
    return "." if negated else "(?!)", at + 1  # ranges such as z-a hold nothing


def _character(pattern: str, at: int, *, in_class: bool = False) -> tuple[str, int]:
    """Return the character at ``at``, of an escape the one that it stands for."""
    if pattern.startswith("\\", at):
        at += 1
    elif in_class and pattern[at : at + 1] in ("-", "]"):
        raise PatternError(f"malformed pattern: {pattern}")
    if at >= len(pattern):
        raise PatternError(f"malformed pattern: {pattern}")
    return pattern[at], at + 1
