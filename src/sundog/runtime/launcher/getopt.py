"""The options in a word of a command line, by the rules of getopt_long(3).

Values are bytes.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.errors import UsageError

    # The letter, the long name, the argument, and what the option does.  Either name may be "".
    # The argument is "" if there is none, and in brackets if it may only be attached.
    _OptionRow = tuple[str, str, str, str]
    # Returns the error for a fault and an option with its dashes; AMBIGUOUS has possible options.
    _Complaint = Callable[[str, str, list[str]], UsageError]

UNKNOWN, AMBIGUOUS, NEEDLESS, LACKING = "unknown", "ambiguous", "needless", "lacking"


def options_of_word(
    word: bytes, words: Iterator[bytes], rows: Sequence[_OptionRow], complain: _Complaint
) -> Iterator[tuple[_OptionRow, bytes | None]]:
    """Yield the row and the argument of each option in ``word``, which begins with "-".

    The argument of the last one may be the next of ``words``, even if it begins with "-".  -h is -?
    where that is an option.  Raises the error of a fault.
    """
    if word.startswith(b"--"):
        given, equals, value = word.partition(b"=")
        start = printable(given[2:])
        found = [row for row in rows if row[1].startswith(start) and row[1]]
        whole = [row for row in found if row[1] == start]
        if len(whole or found) != 1:
            fault = AMBIGUOUS if found else UNKNOWN
            raise complain(fault, f"--{start}", [f"--{long}" for _, long, _, _ in found])
        (row,) = whole or found
        name = f"--{row[1]}"
        if equals and not row[2]:
            raise complain(NEEDLESS, name, [])
        yield row, value if equals else _next_word(row, name, words, complain)
        return
    by_letter = {letter: row for row in rows for letter in row[0].replace("?", "?h")}
    letters = word[1:]
    while letters:
        name, letters = "-" + printable(letters[:1]), letters[1:]
        if name[1:] not in by_letter:
            raise complain(UNKNOWN, name, [])
        row = by_letter[name[1:]]
        if row[2]:  # the rest of the word is the argument
            yield row, letters or _next_word(row, name, words, complain)
            return
        yield row, None


def _next_word(
    row: _OptionRow, name: str, words: Iterator[bytes], complain: _Complaint
) -> bytes | None:
    """Return the next word if the option ``name`` needs an argument."""
    if not row[2] or row[2].startswith("["):
        return None
    for word in words:
        return word
    raise complain(LACKING, name, [])
