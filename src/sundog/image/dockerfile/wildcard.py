r"""Go's ``filepath.Match``, which matches COPY's sources and ignored files.

Specification: https://pkg.go.dev/path/filepath#Match, on Unix: ``*`` and ``?`` match any character
but ``/``, including a leading dot; ``[a-c]``, ``[^a-c]``; a backslash makes the next character
literal.  ``.dockerignore`` adds one thing: ``**`` matches any number of directories.
"""

from __future__ import annotations

import re

from sundog.image.dockerfile.globs import Automaton, CharacterClass, Many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.dockerfile.globs import Token

SEPARATOR = "/"
_ONE = CharacterClass(((SEPARATOR, SEPARATOR),), negated=True)
_SHOWN = 200  # characters of a pattern in an error


class PatternError(ValueError):
    """A malformed pattern; the message says what is wrong."""


def has_wildcard(text: str) -> bool:
    """Tell whether ``text`` has a wildcard, and so matches more than one name."""
    escaped = False
    for char in text:
        if not escaped and char in "*?[":
            return True
        escaped = char == "\\" and not escaped
    return False


def without_escapes(text: str) -> str:
    """Return the one name that a pattern without wildcards matches."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def literal_pattern(text: str) -> str:
    """Return the pattern that matches ``text`` alone."""
    return re.sub(r"([*?\[\\])", r"\\\1", text)


def compiled(pattern: str) -> Automaton:
    """Return an automaton whose ``matches`` is Go's Match of one name, without ``/``.

    Raises PatternError for a malformed pattern.
    """
    return Automaton([tokens(pattern)], SEPARATOR)


def tokens(pattern: str, *, deep: bool = False) -> list[Token]:
    """Return the tokens of a pattern; raise PatternError for a malformed one.

    With ``deep``, ``**/`` is any number of directories, including none, and ``**`` at the end is
    everything.
    """
    result: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if deep and pattern.startswith("**", at - 1):
            at += 1
            at += pattern.startswith("/", at)
            result.append(Many.DIRECTORIES if at < len(pattern) else Many.ALL)
        elif char == "*":
            result.append(Many.STAR)
        elif char == "?":
            result.append(_ONE)
        elif char == "[":
            token, at = _character_class(pattern, at)
            result.append(token)
        else:
            if char == "\\":
                char, at = _character(pattern, at - 1)
            result.append(char)
    return result


def _character_class(pattern: str, at: int) -> tuple[CharacterClass, int]:
    """Parse the class after a ``[``; return it and the offset after its ``]``."""
    negated = pattern.startswith("^", at)
    start = at = at + negated
    ranges = []
    while at == start or not pattern.startswith("]", at):
        low, at = _character(pattern, at, in_class=True)
        high = low
        if pattern.startswith("-", at):
            high, at = _character(pattern, at + 1, in_class=True)
        ranges.append((low, high))  # ranges such as z-a hold nothing
    return CharacterClass(tuple(ranges), negated), at + 1


def _character(pattern: str, at: int, *, in_class: bool = False) -> tuple[str, int]:
    """Return the character at ``at``; for an escape, the character that it stands for."""
    if pattern.startswith("\\", at):
        at += 1
    elif in_class and pattern[at : at + 1] in ("-", "]"):
        raise _malformed(pattern)
    if at >= len(pattern):
        raise _malformed(pattern)
    return pattern[at], at + 1


def _malformed(pattern: str) -> PatternError:
    shown = pattern if len(pattern) <= _SHOWN else f"{pattern[:_SHOWN]}…"
    return PatternError(f"malformed pattern: {shown}")
