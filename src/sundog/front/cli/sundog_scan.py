"""The scan of a subcommand's words, which prints its help if they ask for that."""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.cli.sundog_context import new_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.options import Line, Option


def scanned(
    name: str, words: Sequence[str], options: Sequence[Option], *, permute: bool = True
) -> Line | None:
    """Scan the words of a subcommand; print its help and return None if they ask for that."""
    from sundog.front.options import scan

    line = scan(words, options, command=name, permute=permute)
    if line.is_set("help"):
        from sundog.front.cli.sundog_help import print_help

        print_help(name)
        return None
    return line


def scanned_alone(name: str, words: Sequence[str], options: Sequence[Option]) -> Line | None:
    """Return ``scanned`` of a subcommand that takes no operands; raise UsageError for one."""
    line = scanned(name, words, options)
    if line is not None and line.operands:
        raise UsageError(
            f"{name}: unexpected argument: {line.operands[0]}", f"sundog {name} --help"
        )
    return line


def scanned_one(
    name: str, words: Sequence[str], options: Sequence[Option], operand: str
) -> Line | None:
    """Return ``scanned`` of a subcommand that takes one ``operand``; raise UsageError if not."""
    line = scanned(name, words, options)
    if line is not None and len(line.operands) != 1:
        raise UsageError(f"{name}: it takes one {operand}", f"sundog {name} {operand}")
    return line


def warn(line: Line) -> None:
    """Print the warnings of a command line."""
    if line.warnings:
        report = new_report()
        for text in line.warnings:
            report.warning(text)
