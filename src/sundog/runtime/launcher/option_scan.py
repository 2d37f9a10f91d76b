"""The words of ``ch-run``'s command line as options, by the rules of getopt_long(3) and argp.

Values are bytes.
"""

from sundog.base.kernel.libc import printable
from sundog.base.spelling import nearest
from sundog.errors import UsageError
from sundog.runtime.container.execute import quoted
from sundog.runtime.launcher.help import ACCEPTED, INSTEAD, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def scan(arguments: list[bytes], *, permute: bool = True) -> "Iterator[tuple[str, Any]]":
    """Yield the long name and the argument of each option, ("operand", word) for each operand.

    ("accepted", word) stands for an option of podman that does nothing here; after an operand it
    probably is an option of COMMAND, and an error.  So is each option after the first word of
    COMMAND.  Without ``permute`` the first operand ends the options, as in POSIX.
    """
    numbered = enumerate(arguments)
    words = (word for _, word in numbered)
    accepted = ACCEPTED
    operands: list[int] = []  # their places
    for place, word in numbered:
        if word == b"--":
            break
        if len(operands) > 1 and word.startswith(b"-") and word != b"-":
            raise behind_command(arguments, operands[1], place)
        if word in accepted:
            yield "accepted", word
        elif word.startswith(b"--"):
            yield long_option(word[2:], words)
        elif word.startswith(b"-") and word != b"-":
            yield from short_options(word[1:], words)
        else:
            yield "operand", word
            operands.append(place)
            accepted = {}
            if not permute:
                break
    for word in words:
        yield "operand", word


def long_option(text: bytes, words: "Iterator[bytes]") -> "tuple[str, bytes | None]":
    """Return the long name and the argument of --``text``, which may have it from ``words``."""
    name, equals, value = text.partition(b"=")
    long, argument = find_long(name)
    if not argument and equals:
        raise usage_error(f"option '--{long}' doesn't allow an argument")
    if equals:
        return long, value
    if not argument or argument.startswith("["):
        return long, None
    return long, next_argument(words, f"option '--{long}' requires an argument")


def short_options(letters: bytes, words: "Iterator[bytes]") -> "Iterator[tuple[str, bytes | None]]":
    """Yield the long name and the argument of each of -``letters``; the last may take a word."""
    while letters:
        long, argument = find_short(letters[:1])
        letter, letters = letters[:1], letters[1:]
        if not argument:
            yield long, None
            continue
        if letters or argument.startswith("["):
            yield long, letters or None  # the rest of the word is the argument
        else:
            text = f"option requires an argument -- '{printable(letter)}'"
            yield long, next_argument(words, text)
        return


def behind_command(arguments: list[bytes], command: int, place: int) -> UsageError:
    """Return the error for the option at ``place``, behind the place of COMMAND's first word."""
    own, words = arguments[:command], arguments[command:place]
    option, *rest = arguments[place:]
    if b"--" in rest:
        rest.remove(b"--")  # it comes too late
    hint = f"if it is COMMAND's, type: ch-run {quoted([*own, b'--', *words, option, *rest])}"
    count = words_of_option(option)
    if count:
        moved, rest = [option, *rest][:count], [option, *rest][count:]
        hint += f"; if it is ch-run's: ch-run {quoted([*moved, *own, b'--', *words, *rest])}"
    return UsageError(f"an option behind the command, without --: {printable(option)}", hint)


def words_of_option(word: bytes) -> int:
    """Return how many words an option of ``ch-run`` has that begins with ``word``; 0: unknown."""
    try:
        found = list(scan([word, b"IMAGE"]))
    except UsageError:
        return 0
    if found[0][0] == "accepted":
        return 0  # it does nothing
    return 1 if ("operand", b"IMAGE") in found else 2


def find_long(name: bytes) -> tuple[str, str]:
    """Return (long name, argument) of the option ``name``, which may be abbreviated.

    Raises UsageError.
    """
    shown = printable(name)
    found = [(long, argument) for _, long, argument, _ in OPTIONS if long.startswith(shown)]
    for option in found:
        if option[0] == shown:
            return option
    if not found:
        text = f"unrecognized option '--{shown}'"
        if shown in INSTEAD:
            raise UsageError(text, INSTEAD[shown])
        near = nearest(shown, [long for _, long, _, _ in OPTIONS])
        raise usage_error(text, f"did you mean --{near}? " if near else "")
    if len(found) > 1:
        names = " ".join(f"'--{long}'" for long, _ in found)
        raise usage_error(f"option '--{shown}' is ambiguous; possibilities: {names}")
    return found[0]


def find_short(letter: bytes) -> tuple[str, str]:
    """Return (long name, argument) of the option -``letter``."""
    shown = printable(letter).replace("h", "?")  # -h is -?
    for short, long, argument, _ in OPTIONS:
        if short == shown:
            return long, argument
    raise usage_error(f"invalid option -- '{shown}'")


def next_argument(words: "Iterator[bytes]", complaint: str) -> bytes:
    """Return the next word as the argument of an option, even if it begins with "-"."""
    word = next(words, None)
    if word is None:
        raise usage_error(complaint)
    return word


def usage_error(text: str, suggestion: str = "") -> UsageError:
    """Return the exception for a command line with wrong syntax."""
    return UsageError(text, f"{suggestion}see: ch-run --help; write options for COMMAND after --")
