"""The scan of a command line by the rules of Go's package pflag.

Specification: podman(1), docker(1): ``--name VALUE``, ``--name=VALUE``, ``-xVALUE``, ``-x=VALUE``,
``-it``; a Boolean takes ``=true`` and ``=false``.  Go's package flag, which runc has, takes long
names with one dash, too, and each letter in a word of its own.
"""

from __future__ import annotations

from sundog.base.spelling import BOOLEANS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeVar

    from sundog.errors import UsageError

    KeyT = TypeVar("KeyT")

TRUE, FALSE = "true", "false"
UNKNOWN, NO_BOOLEAN, NO_ARGUMENT = "unknown", "no Boolean", "no argument"


def scan_words(
    words: Iterable[str],
    options: Mapping[str, tuple[KeyT, str]],
    complain: Callable[[str, str, str], UsageError],
    *,
    permute: bool = True,
    one_dash: bool = False,
) -> Iterator[tuple[str, KeyT | None, str]]:
    """Yield name, option and value of each option, and ("", None, word) for each operand.

    ``options`` has the names with their dashes; for each, the option, and the name of its argument:
    "" for a Boolean, "[NAME]" if it may only be attached.  Without ``permute``, the first operand
    ends the options.  With ``one_dash``, one dash may begin a long name.  Raises what ``complain``
    returns for a fault (UNKNOWN, NO_BOOLEAN or NO_ARGUMENT), a name and a word.
    """
    rest = iter(words)
    for word in rest:
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            yield "", None, word
            if not permute:
                break
            continue
        left = word[1:]
        while left:
            if one_dash or word.startswith("--"):
                name, equals, text = word.partition("=")
                attached, left = text if equals else None, ""
                name = f"-{name}" if one_dash and name not in options else name
            else:
                name, left = f"-{left[0]}", left[1:]
                attached = left[1:] if left.startswith("=") else None
            if name not in options:
                raise complain(UNKNOWN, name, word)
            option, argument = options[name]
            value = TRUE
            if attached is not None and not argument:
                if attached not in BOOLEANS:
                    raise complain(NO_BOOLEAN, name, word)
                value = TRUE if BOOLEANS[attached] else FALSE
            elif attached is not None or (argument and left):
                value = left if attached is None else attached
            elif argument and not argument.startswith("["):
                found = next(rest, None)
                if found is None:
                    raise complain(NO_ARGUMENT, name, word)
                value = found
            yield name, option, value
            if argument or attached is not None:
                break
    for word in rest:
        yield "", None, word
