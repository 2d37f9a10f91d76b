"""An option of podman, and the scan of a command line by the rules of podman and docker.

Specification: podman(1), docker(1), and what both use (Go's package pflag): ``--name VALUE``,
``--name=VALUE``, ``-xVALUE``, ``-x=VALUE``, ``-it``; a Boolean takes ``=true`` and ``=false``.
"""

from __future__ import annotations

from sundog.base.spelling import BOOLEANS, nearest
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TAKEN = "taken"  # it changes what happens
HELD = "held"  # what it asks for is so in any case
WARNED = "warned"  # it has no effect; one line says why
REFUSED = "refused"  # the command would not be what the user wants

TRUE, FALSE = "true", "false"


class Option:
    """An option.

    names      long names with their dashes first, then short ones
    argument   the name of its argument; "" for a Boolean; "[NAME]" if it may only be attached
    treatment  TAKEN, HELD, WARNED or REFUSED
    text       what it does; for WARNED and REFUSED, why it does not
    hint       what to do instead
    harmless   tells for which values a WARNED or REFUSED option is HELD
    to         returns the words for ``ch-image`` that stand for a value
    """

    __slots__ = ("argument", "harmless", "hint", "names", "text", "to", "treatment")

    def __init__(
        self,
        names: str,
        argument: str,
        treatment: str,
        text: str,
        hint: str = "",
        *,
        harmless: Callable[[str], bool] | None = None,
        to: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.names = tuple(names.split())
        self.argument = argument
        self.treatment = treatment
        self.text = text
        self.hint = hint
        self.harmless = harmless
        self.to = to

    @property
    def name(self) -> str:
        """The name by which translations know the option: the first one, without dashes."""
        return self.names[0].lstrip("-")

    def is_held(self, value: str) -> bool:
        """Tell whether what the option asks for with ``value`` is so in any case."""
        if not self.argument and value == FALSE:
            return self.treatment in (WARNED, REFUSED)
        return self.treatment == HELD or (self.harmless is not None and self.harmless(value))


def one_of(*values: str) -> Callable[[str], bool]:
    """Return the test for one of these values."""
    return lambda value: value in values


def harmless_security(value: str) -> bool:
    """Tell whether a --security-opt asks for what is so in any case, or takes nothing away."""
    name = value.replace(":", "=").partition("=")[0]
    return name in ("label", "no-new-privileges", "systempaths", "unmask") or value in (
        *("seccomp=unconfined", "seccomp:unconfined"),
        *("apparmor=unconfined", "apparmor:unconfined"),
    )


def flag(word: str) -> Callable[[str], list[str]]:
    """Return what hands a Boolean over as the option ``word``."""
    return lambda value: [word] if value == TRUE else []


def unless(word: str) -> Callable[[str], list[str]]:
    """Return what hands a Boolean over as the option ``word`` if it is false."""
    return lambda value: [word] if value == FALSE else []


def valued(word: str) -> Callable[[str], list[str]]:
    """Return what hands a value over as that of the option ``word``."""
    return lambda value: [f"{word}={value}"]


class Line:
    """A scanned command line: the options that are TAKEN in their order, operands, warnings."""

    __slots__ = ("found", "operands", "warnings")

    def __init__(self) -> None:
        self.found: list[tuple[Option, str]] = []
        self.operands: list[str] = []
        self.warnings: list[str] = []

    def all(self, name: str) -> list[str]:
        """Return the values of the option ``name``, in their order."""
        return [value for option, value in self.found if option.name == name]

    def last(self, name: str) -> str | None:
        """Return the last value of the option ``name``; None if it is not there."""
        values = self.all(name)
        return values[-1] if values else None

    def is_set(self, name: str) -> bool:
        """Tell whether the Boolean ``name`` is true."""
        return self.last(name) == TRUE

    def translated(self) -> list[str]:
        """Return the words for ``ch-image`` that the options stand for."""
        return [
            word
            for option, value in self.found
            if option.to is not None
            for word in option.to(value)
        ]


def scan(
    words: Iterable[str], options: Sequence[Option], *, command: str, permute: bool = True
) -> Line:
    """Scan the ``words`` after the name of the subcommand ``command``.

    Without ``permute``, the first operand ends the options.  Raises UsageError for an option that
    is unknown, REFUSED, or without its argument.
    """
    line = Line()
    names = {name: option for option in options for name in option.names}
    rest = iter(words)
    for word in rest:
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            line.operands.append(word)
            if not permute:
                break
            continue
        scanned = _long if word.startswith("--") else _short
        for name, option, value in scanned(word, rest, names, command):
            _add(line, name, option, value, command)
    line.operands += rest
    return line


def _long(
    word: str, rest: Iterator[str], names: dict[str, Option], command: str
) -> Iterator[tuple[str, Option, str]]:
    name, equals, value = word.partition("=")
    option = names.get(name)
    if option is None:
        raise unknown(name, names, command)
    if equals:
        yield name, option, value if option.argument else _boolean(name, value, command)
    elif not option.argument or option.argument.startswith("["):
        yield name, option, TRUE
    else:
        yield name, option, _next(rest, name, command)


def _short(
    word: str, rest: Iterator[str], names: dict[str, Option], command: str
) -> Iterator[tuple[str, Option, str]]:
    letters = word[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        option = names.get(name)
        if option is None:
            raise unknown(name if len(word) == 2 else f"{name} in {word}", names, command)
        if letters.startswith("="):
            value = letters[1:]
            yield name, option, value if option.argument else _boolean(name, value, command)
            return
        if not option.argument:
            yield name, option, TRUE
            continue
        yield name, option, letters or _next(rest, name, command)
        return


def _add(line: Line, name: str, option: Option, value: str, command: str) -> None:
    if option.treatment == TAKEN:
        line.found.append((option, value))
    elif option.is_held(value):
        return
    elif option.treatment == WARNED:
        shown = f"{name} {value}" if option.argument else name
        line.warnings.append(f"{shown} has no effect: {option.text}")
    else:
        shown = f"{name} {value}" if option.argument else name
        raise UsageError(f"{shown}: {option.text}", option.hint or f"sundog {command} --help")


def _boolean(name: str, value: str, command: str) -> str:
    """Return ``value`` as TRUE or FALSE."""
    if value not in BOOLEANS:
        raise UsageError(f"{name}: neither true nor false: {value}", f"sundog {command} --help")
    return TRUE if BOOLEANS[value] else FALSE


def _next(rest: Iterator[str], name: str, command: str) -> str:
    value = next(rest, None)
    if value is None:
        raise UsageError(f"{name} needs an argument", f"sundog {command} --help")
    return value


def unknown(name: str, names: Iterable[str], command: str) -> UsageError:
    """Return the error for an option, or a subcommand, that does not exist."""
    close = nearest(name, names)
    hint = f"did you mean {close}?  " if close else ""
    kind = "option" if name.startswith("-") else "subcommand"
    return UsageError(
        f"unknown {kind}: {name}", f"{hint}see: sundog {command} --help".replace("  --", " --")
    )
