"""The words of a POSIX shell: names of variables, and texts in quotes."""

from __future__ import annotations

IDENTIFIER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS = frozenset("0123456789")


def is_name(text: str) -> bool:
    """Tell whether ``text`` can be the name of a shell's variable."""
    return bool(text) and IDENTIFIER.issuperset(text) and text[0] not in _DIGITS


def single_quoted(text: str) -> str:
    """Return the word that a shell evaluates to ``text``."""
    quoted = text.replace("'", "'\\''")
    return f"'{quoted}'"


def literal(value: str) -> str:
    """Return the text between double quotes that a shell evaluates to ``value``."""
    return "".join(f"\\{each}" if each in '\\"$`' else each for each in value)


def between_quotes(value: str) -> str:
    r"""Return the text between double quotes in which only ``$`` and ``\``` have a meaning."""
    parts: list[str] = []
    place = 0
    while place < len(value):
        each = value[place]
        if each == "\\" and value[place + 1 : place + 2] in ("$", "`"):
            parts.append(value[place : place + 2])
            place += 1
        else:
            parts.append(f"\\{each}" if each in '\\"' else each)
        place += 1
    return "".join(parts)
