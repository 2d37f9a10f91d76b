"""The options and operands of a command line, declared as the attributes that they become.

In a class, ``name: str = option("--name", "NAME", "its help")`` declares the type of a value and
all that argparse needs to know.  ``add_rows`` adds the rows of the class to a parser.
"""

from __future__ import annotations

import argparse

from sundog.front.cli.parser import PodmanOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_HIDDEN = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS}


class Row:
    """An option or, without names, an operand; ``settings`` are those of add_argument."""

    __slots__ = ("names", "settings")

    def __init__(self, names: str, settings: dict[str, Any]) -> None:
        self.names = names.split()
        self.settings = settings


def add_rows(
    kind: type, add: Callable[..., object], *, beyond: type = object, hidden: bool = False
) -> None:
    """Add the rows of a class by add_argument, in order, those of its bases first.

    The rows of its base ``beyond`` are left out.  ``hidden`` ones have
    no help, and set no default.
    """
    for each in reversed(kind.__mro__):
        for name, row in vars(each).items():
            if isinstance(row, Row) and not issubclass(beyond, each):
                settings = {"dest": name, **row.settings, **(_HIDDEN if hidden else {})}
                names = row.names or [settings.pop("dest")]
                add(*names, **settings)


def option(names: str, metavar: str | None, text: str, **settings: object) -> Any:
    """Return the row of an option with a value."""
    return Row(names, {"metavar": metavar, "help": text, **settings})


def repeated(names: str, metavar: str, text: str) -> Any:
    """Return the row of an option with a value that may come several times."""
    return option(names, metavar, text, action="append", default=[])


def flag(names: str, text: str, **settings: object) -> Any:
    """Return the row of an option without a value."""
    return Row(names, {"action": "store_true", "help": text, **settings})


def counted(names: str, text: str) -> Any:
    """Return the row of an option whose value is how often it is there."""
    return flag(names, text, action="count", default=0)


def foreign(names: str, instead: str) -> Any:
    """Return the row of an option of podman's, which is refused with the hint ``instead``."""
    return Row(names, {"action": PodmanOption, "const": instead})


def operand(metavar: str, text: str, **settings: object) -> Any:
    """Return the row of an operand."""
    return option("", metavar, text, **settings)
