"""The options that the configuration puts before those of a line of ``sundog run``."""

from __future__ import annotations

from sundog.base.configuration.keys import RUN_OPTIONS
from sundog.base.kernel.libc import decode_text
from sundog.errors import UsageError
from sundog.front.options import scan
from sundog.front.podman.run_options import RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.holding import Holding
    from sundog.front.options import Line

_ONE_CONTAINERS = ("help", "name", "cidfile")  # no two containers can have them


def run_defaults(holding: Holding) -> Line:
    """Return the line of the options, with the place of the key in its warnings.

    Raises UsageError, which names the place, for a mistake in them.
    """
    words = [decode_text(value) for value in holding.said(RUN_OPTIONS)]
    try:
        line = scan(words, RUN, command="run", permute=False)
        if line.operands:
            raise UsageError(f"not an option: {line.operands[0]}", "write --NAME=VALUE")
        for name in _ONE_CONTAINERS:
            if line.last(name) is not None:
                raise UsageError(f"--{name} can't be a default", "give it on the command line")
    except UsageError as error:
        raise UsageError(f"{holding.place(RUN_OPTIONS)}: {error.message}", error.hint) from None
    line.warnings = [f"{holding.place(RUN_OPTIONS)}: {text}" for text in line.warnings]
    return line
