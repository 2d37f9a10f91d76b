"""The parser of a command line: argparse with this project's errors, and with suggestions."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from sundog.base.spelling import nearest
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn


# Columns of the help: the width where the terminal tells none, and the margin.
_WIDTH, _MARGIN = 80, 2
# The number of choices that a hint lists; the help lists more of them better.
_SHORT_LIST = 6


class Formatter(argparse.HelpFormatter):
    """Format help as wide as the terminal.

    argparse's own formatter imports half of the standard library to ask for the width.
    """

    def __init__(self, prog: str) -> None:
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isascii() and columns.isdigit() else 0
        with suppress(OSError):
            width = width or os.get_terminal_size().columns
        super().__init__(prog, width=(width or _WIDTH) - _MARGIN)


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, where argparse would print and exit."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with a hint that names the help."""
        _, unrecognized, words = message.partition("unrecognized arguments: ")
        if unrecognized:
            raise self.unrecognized(words.split(" "))
        option, refused, _ = message.partition(": ignored explicit argument ")
        message = f"{option}: it takes no value" if refused else message
        raise UsageError(message, f"{self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a word that is not among the choices, and suggest the nearest one.

        argparse calls this method; its own message has no suggestion before Python 3.14.
        """
        choices = [] if action.choices is None else list(action.choices)
        if action.choices is None or value in choices:
            return
        name = "/".join(action.option_strings) or action.metavar
        listed = f"one of: {', '.join(choices)}; " if len(choices) <= _SHORT_LIST else ""
        raise UsageError(
            f"argument {name}: invalid choice: {str(value)!r}",
            (suggestion(str(value), choices) or listed) + f"{self.prog} --help",
        )

    def unrecognized(self, words: Sequence[str]) -> UsageError:
        """Return the error for words that are no options or arguments of this command.

        An option is named alone: the words after it may be its argument.
        """
        options = [word.partition("=")[0] for word in words if word.startswith("-") and word != "-"]
        known = [name for action in self._actions for name in action.option_strings]
        return UsageError(
            f"unrecognized arguments: {' '.join(options[:1] or words)}",
            suggestion(options[0] if options else "", known) + f"{self.prog} --help",
        )


class SmallParser(Parser):
    """The parser of a command without subcommands: --help and --version are options like others.

    So they count only if the rest of the line is right, and the command chooses their stream.
    """

    def __init__(self, prog: str, operands: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} [OPTION...]{operands}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )

    def add_last_options(self) -> None:
        """Add the options that end the help of each command."""
        self.add_argument("-h", "--help", action="store_true", help="print this help and exit")
        self.add_argument("--version", action="store_true", help="print the version and exit")


class OneOf(argparse.Action):
    """Store ``const``, once on each side of the subcommand.

    argparse's own groups of that kind fail in Python 3.11 where their help is suppressed.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,  # noqa: ARG002 - as argparse calls it
        option_string: str | None = None,
    ) -> None:
        """Store the constant; refuse another one on the same side."""
        if getattr(namespace, self.dest, None) not in (None, self.const):
            kind = [a.option_strings[0] for a in parser._actions if a.dest == self.dest]
            raise UsageError(
                f"argument {option_string}: only one of its kind is allowed",
                f"write one of: {', '.join(kind)}",
            )
        setattr(namespace, self.dest, self.const)


class PodmanOption(argparse.Action):
    """An option that podman's users may write: refuse it, and say what to write instead.

    Without this action, argparse would take it for an abbreviation of another option.
    """

    is_foreign = True  # completion and manual pages leave it out

    def __init__(self, *, const: str, **settings: Any) -> None:
        super().__init__(const=const, nargs="?", help=argparse.SUPPRESS, **settings)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - as argparse calls it
        values: object,  # noqa: ARG002
        option_string: str | None = None,
    ) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{parser.prog} has no option {option_string}", str(self.const))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the beginning of a hint that suggests the word most like ``word``, or ""."""
    found = nearest(word, known)
    return f"did you mean {found}? See " if found else ""
