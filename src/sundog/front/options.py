"""An option of another engine's command, and the scan of a line in the dialect of Go's pflag."""

from __future__ import annotations

from sundog.base.spelling import nearest
from sundog.errors import UsageError
from sundog.front.pflag import FALSE, NO_BOOLEAN, TRUE, UNKNOWN, scan_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TAKEN = "taken"  # it changes what happens
HELD = "held"  # what it asks for is so in any case
WARNED = "warned"  # it has no effect; one line says why
REFUSED = "refused"  # the command would not be what the user wants


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
    """A scanned line of ``command``: options that are TAKEN in their order, operands, warnings."""

    __slots__ = ("command", "found", "operands", "warnings")

    def __init__(self, command: str) -> None:
        self.command = command
        self.found: list[tuple[Option, str]] = []
        self.operands: list[str] = []
        self.warnings: list[str] = []

    def add(self, name: str, option: Option, value: str) -> None:
        """Add an option, given as ``name``.  Raises UsageError if it is REFUSED."""
        if option.treatment == TAKEN:
            self.found.append((option, value))
            return
        if option.is_held(value):
            return
        shown = f"{name} {value}" if option.argument else name
        if option.treatment == REFUSED:
            hint = option.hint or f"sundog {self.command} --help"
            raise UsageError(f"{shown}: {option.text}", hint)
        self.warnings.append(f"{shown} has no effect: {option.text}")

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
        """Return the words for ``ch-image`` that the options stand for; of a Boolean, the last."""
        last = {option.name: number for number, (option, _) in enumerate(self.found)}
        return [
            word
            for number, (option, value) in enumerate(self.found)
            if option.to is not None and (option.argument or last[option.name] == number)
            for word in option.to(value)
        ]


def scan(
    words: Iterable[str], options: Sequence[Option], *, command: str, permute: bool = True
) -> Line:
    """Scan the ``words`` after the name of the subcommand ``command``.

    Without ``permute``, the first operand ends the options.  Raises UsageError for an option that
    is unknown, REFUSED, or without its argument.
    """

    def complain(fault: str, name: str, word: str) -> UsageError:
        if fault == UNKNOWN:
            is_alone = word.startswith("--") or len(word) == 2
            return unknown(name if is_alone else f"{name} in {word}", names, command)
        text = f"{name} needs an argument"
        if fault == NO_BOOLEAN:
            text = f"{name}: neither true nor false: {word.partition('=')[2]}"
        return UsageError(text, f"sundog {command} --help")

    line = Line(command)
    names = {name: (option, option.argument) for option in options for name in option.names}
    for name, option, value in scan_words(words, names, complain, permute=permute):
        if option is None:
            line.operands.append(value)
        else:
            line.add(name, option, value)
    return line


def unknown(name: str, names: Iterable[str], command: str) -> UsageError:
    """Return the error for an option, or a subcommand, that does not exist."""
    close = nearest(name, names)
    hint = f"did you mean {close}?  " if close else ""
    kind = "option" if name.startswith("-") else "subcommand"
    return UsageError(
        f"unknown {kind}: {name}", f"{hint}see: sundog {command} --help".replace("  --", " --")
    )
