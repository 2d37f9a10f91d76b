"""The words for true and false and for kinds of values, and the word that a user probably meant.

The module imports nothing, so that every command can use it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# A word may differ in one character of so many, and at least in one.
_CHARACTERS_PER_EDIT = 3
# No name of a subcommand or an option is longer; the work grows with the square of the length.
_WORD_LIMIT = 40
# Go's strconv.ParseBool: docker, podman and BuildKit read a Boolean so.
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE_DIGITS = 15
# The values of JSON, YAML and TOML.
_VALUE_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def byte_count(text: str) -> int | None:
    """Return the bytes of a size such as ``50G``, ``1.5TiB`` or ``100``; None if it is none.

    K, M, G and T are powers of 1024.
    """
    digits = text.rstrip("KMGTkmgtiBb")
    factor = _FACTORS.get(text[len(digits) :].upper().removesuffix("B").removesuffix("I"))
    whole, point, part = digits.partition(".")
    if factor is None or len(digits) > _SIZE_DIGITS or not (whole + part).isdecimal():
        return None
    if not (text.isascii() and whole and (part or not point)):
        return None
    return int(float(digits) * factor)


def value_kind(value: object) -> str:
    """Return the words for the kind of a value that a document has."""
    return _VALUE_KINDS.get(type(value), type(value).__name__)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the word of ``known`` that is most similar to ``word``, or "" if none is similar.

    Of equally similar words, the first one counts.
    """
    if len(word) > _WORD_LIMIT:
        return ""
    length = len(word.lstrip("-"))
    # An edit of a word of one letter would make any other of them.
    best, fewest = "", min(max(1, length // _CHARACTERS_PER_EDIT) + 1, max(1, length))
    for candidate in known:
        count = edits(word, candidate)
        if count < fewest:
            best, fewest = candidate, count
    return best


def edits(first: str, second: str) -> int:
    """Return the number of edits between two words.

    An edit inserts, removes or replaces a character, or swaps two neighbours (the restricted
    Damerau-Levenshtein distance).
    """
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, character in enumerate(first, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(second, 1):
            count = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (character != other))
            if i > 1 and j > 1 and character == second[j - 2] and other == first[i - 2]:
                count = min(count, last[j - 2] + 1)
            row.append(count)
    return row[-1]
