"""An oracle: the three kinds of patterns as regular expressions, which backtrack.

``dockerfile`` matched them this way before ``dockerfile.globs``; only for short texts.
"""

from __future__ import annotations

import re

from sundog.image.dockerfile.wildcard import PatternError


def go_expression(pattern: str, *, deep: bool = False) -> str:
    """Translate a pattern of Go's filepath.Match, with ``deep`` one of an ignore file."""
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


def ignore_expression(pattern: str) -> str:
    """Translate a cleaned pattern of an ignore file."""
    rest = pattern[2:]
    if pattern.startswith("**") and rest[:1] != "/" and not re.search(r"[*?\[\\]", rest):
        return ".*" + re.escape(rest)
    return go_expression(pattern, deep=True)


def _character_class(pattern: str, at: int) -> tuple[str, int]:
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
    return "." if negated else "(?!)", at + 1


def _character(pattern: str, at: int, *, in_class: bool = False) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    elif in_class and pattern[at : at + 1] in ("-", "]"):
        raise PatternError(pattern)
    if at >= len(pattern):
        raise PatternError(pattern)
    return pattern[at], at + 1


def without_prefix(value: str, pattern: str) -> str:
    """Return ``${value#pattern}``, or ``##`` if the pattern begins with another ``#``."""
    longest = pattern.startswith("#")
    atoms = _atoms(pattern.removeprefix("#"), longest=longest)
    found = re.match("".join(atoms), value)
    return value[found.end() :] if found else value


def without_suffix(value: str, pattern: str) -> str:
    """Return ``${value%pattern}``, or ``%%``."""
    longest = pattern.startswith("%")
    atoms = _atoms(pattern.removeprefix("%"), longest=longest)
    found = re.match("".join(atoms[::-1]), value[::-1])
    return value[::-1][found.end() :][::-1] if found else value


def substituted(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """Return ``${value/pattern/replacement}``, or ``//`` with ``everywhere``."""
    result = ""
    end = -1
    for found in re.finditer("".join(_atoms(pattern, longest=True)), value):
        if found.end() == found.start() == end:
            continue
        result += value[max(end, 0) : found.start()] + replacement
        end = found.end()
        if not everywhere:
            break
    return result + value[max(end, 0) :]


def _atoms(pattern: str, *, longest: bool) -> list[str]:
    atoms = []
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            atoms.append(".*" if longest else ".*?")
        elif char == "?":
            atoms.append(".")
        else:
            atoms.append(re.escape(next(chars) if char == "\\" else char))
    return atoms
