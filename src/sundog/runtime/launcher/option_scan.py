"""The words of ``ch-run``'s command line as options, by the rules of getopt_long(3) and argp.

Values are bytes.
"""

from sundog.base.kernel.libc import printable
from sundog.base.spelling import nearest
from sundog.errors import UsageError
from sundog.runtime.launcher.help import ACCEPTED, INSTEAD, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def scan(arguments: list[bytes], *, permute: bool = True) -> "Iterator[tuple[str, bytes | None]]":
    """Yield the long name and the argument of each option, ("operand", word) for each operand.

    ("accepted", word) stands for an option of podman that does nothing here; after an operand it
    probably is an option of COMMAND, and an error.  So is each option after the first word of
    COMMAND.  Without ``permute`` the first operand ends the options, as in POSIX.
    """
    words = iter(arguments)
    accepted = ACCEPTED
    operands: list[bytes] = []
    for word in words:
        if word == b"--":
            break
        if len(operands) > 1 and word.startswith(b"-") and word != b"-":
            raise behind_command(word, operands, list(words))
        if word in accepted:
            yield "accepted", word
        elif word.startswith(b"--"):
            name, equals, value = word[2:].partition(b"=")
            long, argument = find_long(name)
            if not argument and equals:
                raise usage_error(f"option '--{long}' doesn't allow an argument")
            if equals:
                yield long, value
            elif not argument or argument.startswith("["):
                yield long, None
            else:
                yield long, next_argument(words, f"option '--{long}' requires an argument")
        elif word.startswith(b"-") and word != b"-":
            letters = word[1:]
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
                break
        else:
            yield "operand", word
            operands.append(word)
            accepted = {}
            if not permute:
                break
    for word in words:
        yield "operand", word


def behind_command(word: bytes, operands: list[bytes], rest: list[bytes]) -> UsageError:
    """Return the error for the option ``word`` behind ``operands``, which are IMAGE and COMMAND."""
    command = b" ".join([*operands[1:], word, *[other for other in rest if other != b"--"]])
    return UsageError(
        f"an option behind the command, without --: {printable(word)}",
        f"of COMMAND: ch-run {printable(operands[0])} -- {printable(command)}; "
        "of ch-run: write it before COMMAND",
    )


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
