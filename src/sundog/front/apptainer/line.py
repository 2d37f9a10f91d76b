"""The scan of a line of ``sundog apptainer``, with what variables say in place of options."""

from __future__ import annotations

from sundog.base.spelling import BOOLEANS
from sundog.errors import UsageError
from sundog.front.apptainer.action_options import GATHERED, GLOBAL, TABLES
from sundog.front.apptainer.option_variables import PREFIXES, variable_of
from sundog.front.options import Line, scan
from sundog.front.pflag import FALSE, TRUE
from sundog.front.pflag_values import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sundog.front.options import Option

_ESCAPE = "\\"  # before a comma or a colon of a path


def split_globals(words: Sequence[str], environment: Mapping[str, str]) -> tuple[Line, list[str]]:
    """Return the options before the subcommand, and the words from it on.  Raises UsageError."""
    line = scan_line("", words, GLOBAL, environment, permute=False)
    rest, line.operands = line.operands, []
    return line, rest


def scan_action(name: str, words: Iterable[str], environment: Mapping[str, str]) -> Line:
    """Scan the words after ``exec``, ``run``, ``shell`` or ``test``.  Raises UsageError."""
    return scan_line(name, words, TABLES[name], environment, permute=False)


def scan_line(
    name: str,
    words: Iterable[str],
    options: Sequence[Option],
    environment: Mapping[str, str],
    *,
    permute: bool = True,
) -> Line:
    """Scan the words after the subcommand ``name``, and the variables that stand for ``options``.

    Without ``permute``, the first operand ends the options.  Raises UsageError.
    """
    command = f"apptainer {name}".rstrip()
    given = scan(words, options, command=command, permute=permute)
    line = Line(command)
    line.operands, line.warnings = given.operands, given.warnings
    # Most starts have none.
    variables = {name: text for name, text in environment.items() if name.startswith(PREFIXES)}
    for option in options if variables else ():
        variable, value = variable_of(name, option, variables)
        if not value or (option.name not in GATHERED and given.all(option.name)):
            continue
        line.add(f"${variable}", option, _checked(option, variable, value))
    line.found += given.found  # it comes later, so it counts more
    return line


def listed(line: Line, name: str, *, escapes: bool = False) -> list[str]:
    """Return the values of an option that takes a list with commas.  Raises UsageError."""

    def complain(fault: str) -> UsageError:
        return UsageError(f"--{name}: {fault}", "write a list with commas")

    escape = _ESCAPE if escapes else ""
    return [field for text in line.all(name) for field in fields_of(text, complain, escape)]


def _checked(option: Option, variable: str, value: str) -> str:
    """Return the value of a variable, of a switch as the line would have it.  Raises UsageError."""
    if option.argument:
        return value
    if value not in BOOLEANS:
        raise UsageError(f"${variable}: neither true nor false: {value}", "write true or false")
    return TRUE if BOOLEANS[value] else FALSE
