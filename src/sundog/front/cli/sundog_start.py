"""Start ``ch-run`` for ``sundog``: this process becomes it."""

from __future__ import annotations

import os
import sys
from _signal import SIG_DFL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]

from sundog.base.installation import own_command
from sundog.errors import SundogError
from sundog.front.podman.statuses import PODMAN_STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sundog.front.cli.sundog_command import Context
    from sundog.front.podman.options import Line
    from sundog.front.podman.run_line import Caller, ChRunLine, ImageFacts
    from sundog.front.podman.users import Who

_STDIN = 0


class Run:
    """A line of ``sundog run``, and what must be known to translate it.

    ``image`` is IMAGE as ``ch-run`` takes it.
    """

    __slots__ = ("caller", "context", "facts", "image", "line", "user")

    def __init__(
        self,
        line: Line,
        image: str,
        facts: ImageFacts,
        *,
        caller: Caller,
        user: Who,
        context: Context,
    ) -> None:
        self.line = line
        self.image = image
        self.facts = facts
        self.caller = caller
        self.user = user
        self.context = context


def become_ch_run(start: ChRunLine, line: Line, context: Context) -> NoReturn:
    """Become ``ch-run``.  Raises SundogError if that is not possible."""
    _prepare_stdin(line)
    storage = [] if context.storage is None else [f"--storage={context.storage}"]
    execute(
        [*own_command("ch-run"), *storage, *start.arguments], start.environment | PODMAN_STATUSES
    )


def execute(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program ``argv[0]``, with the signals that Python ignores at their defaults."""
    for number in (SIGPIPE, SIGXFSZ):
        signal(number, SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execve(argv[0], argv, environment)
    except (OSError, ValueError) as error:  # a NUL in an argument
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SundogError(f"can't execute {argv[0]}: {reason}") from error


def _prepare_stdin(line: Line) -> None:
    """Give the command no standard input without -i; warn of -it without a terminal."""
    if line.is_set("interactive"):
        if line.is_set("tty") and not os.isatty(_STDIN):
            from sundog.front.cli.sundog_command import new_report  # noqa: PLC0415 - seldom needed

            new_report().warning("-t: standard input is no terminal")
        return
    null = os.open(os.devnull, os.O_RDONLY)
    if null != _STDIN:
        os.dup2(null, _STDIN)
        os.close(null)
    os.set_inheritable(_STDIN, True)
