"""Go's ``filepath.Match``, with which COPY's sources are matched.

Specification: https://pkg.go.dev/path/filepath#Match, on Unix: ``*`` and ``?`` match any character
but ``/``, a leading dot included; ``[a-c]``, ``[^a-c]``; a backslash takes the next character as it
is.  Here one component of a path is matched at a time, so that no pattern sees a ``/``.
"""

from __future__ import annotations

import re

from sundog.errors import BuildError


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
    """Return a pattern whose ``fullmatch`` is Go's Match; raise BuildError on a malformed one."""
    expression = ""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            expression += ".*"
        elif char == "?":
            expression += "."
        elif char == "[":
            piece, at = _character_class(pattern, at)
            expression += piece
        else:
            if char == "\\":
                char, at = _character(pattern, at - 1)
            expression += re.escape(char)
    return re.compile(expression, re.DOTALL)


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
        raise _malformed(pattern)
    if at >= len(pattern):
        raise _malformed(pattern)
    return pattern[at], at + 1


def _malformed(pattern: str) -> BuildError:
    return BuildError(f"malformed pattern: {pattern}", "put a backslash before a literal [ or ]")
