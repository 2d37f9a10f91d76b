"""The words of ``ch-run``'s command line as options and operands.

Values are bytes.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.base.spelling import nearest
from sundog.errors import UsageError
from sundog.runtime.container.execute import quoted
from sundog.runtime.launcher.getopt import AMBIGUOUS, LACKING, NEEDLESS, UNKNOWN, options_of_word
from sundog.runtime.launcher.help import ACCEPTED, INSTEAD, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def scan(arguments: list[bytes], *, permute: bool = True) -> Iterator[tuple[str, Any]]:
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
            raise _behind_command(arguments, operands[1], place)
        if word in accepted:
            yield "accepted", word
        elif word.startswith(b"-") and word != b"-":
            for (_, name, _, _), value in options_of_word(word, words, OPTIONS, _option_error):
                yield name, value
        else:
            yield "operand", word
            operands.append(place)
            accepted = {}
            if not permute:
                break
    for word in words:
        yield "operand", word


def _behind_command(arguments: list[bytes], command: int, place: int) -> UsageError:
    """Return the error for the option at ``place``, behind the place of COMMAND's first word."""
    own, words = arguments[:command], arguments[command:place]
    option, *rest = arguments[place:]
    if b"--" in rest:
        rest.remove(b"--")  # it comes too late
    hint = f"if it is COMMAND's, type: ch-run {quoted([*own, b'--', *words, option, *rest])}"
    count = _words_of_option(option)
    if count:
        moved, rest = [option, *rest][:count], [option, *rest][count:]
        hint += f"; if it is ch-run's: ch-run {quoted([*moved, *own, b'--', *words, *rest])}"
    return UsageError(f"an option behind the command, without --: {printable(option)}", hint)


def _words_of_option(word: bytes) -> int:
    """Return how many words an option of ``ch-run`` has that begins with ``word``; 0: unknown."""
    try:
        found = list(scan([word, b"IMAGE"]))
    except UsageError:
        return 0
    if found[0][0] == "accepted":
        return 0  # it does nothing
    return 1 if ("operand", b"IMAGE") in found else 2


def _option_error(fault: str, name: str, possible: list[str]) -> UsageError:
    """Return the error for an option, in the words of the C library."""
    is_long, hint = len(name) > 2 and name.startswith("--"), ""  # "-" may be a letter
    if fault == AMBIGUOUS:
        names = " ".join(f"'{each}'" for each in possible)
        text = f"option '{name}' is ambiguous; possibilities: {names}"
    elif fault == NEEDLESS:
        text = f"option '{name}' doesn't allow an argument"
    elif not is_long:
        text = "invalid option" if fault == UNKNOWN else "option requires an argument"
        text += f" -- '{name[1:]}'"
    elif fault == LACKING:
        text = f"option '{name}' requires an argument"
    else:
        text = f"unrecognized option '{name}'"
        if name[2:] in INSTEAD:
            return UsageError(text, INSTEAD[name[2:]])
        near = nearest(name[2:], [long for _, long, _, _ in OPTIONS])
        hint = f"did you mean --{near}? " if near else ""
    return UsageError(text, f"{hint}see: ch-run --help; write options for COMMAND after --")
