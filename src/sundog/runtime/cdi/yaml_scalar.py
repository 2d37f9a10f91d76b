"""Values of unquoted words of YAML: null, true, a whole number, or text.

The rules are those of the programs that read CDI files today: a leading zero makes a number octal,
so that ``fileMode: 0660`` is what people mean.  Null, true and false are not text.  The words
yes, no, on and off are text.  Fractions stay text, because CDI has none.
"""

from __future__ import annotations

_YAML_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_YAML_BASES = {"0b": 2, "0o": 8, "0x": 16}
_DIGITS_LIMIT = 64


def plain_scalar(word: str) -> object:
    """Return the value of an unquoted scalar."""
    if word in _YAML_WORDS:
        return _YAML_WORDS[word]
    digits = word[1:] if word[0] in "+-" else word
    if not digits or digits[0] not in "0123456789" or len(digits) > _DIGITS_LIMIT:
        return word
    base, start = _YAML_BASES.get(digits[:2], 0), 2
    if not base:
        base, start = (8, 1) if digits[0] == "0" and len(digits) > 1 else (10, 0)
    digits = digits[start:]
    # int() takes more: blanks, signs, underscores and the digits of other scripts.
    if not (digits.isalnum() and digits.isascii()):
        return word
    try:
        value = int(digits, base)
    except ValueError:
        return word
    return -value if word[0] == "-" else value
