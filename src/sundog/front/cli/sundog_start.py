"""Start ``ch-run`` for ``sundog``: this process becomes it, by execve(2) or as it is."""

from __future__ import annotations

import gc
import os
import sys

from sundog.base.cpython import SIG_DFL, SIGPIPE, SIGXFSZ, signal
from sundog.base.installation import compiled, own_command
from sundog.base.kernel.files import close_as_execve
from sundog.errors import SundogError
from sundog.front.cli.sundog_context import new_report
from sundog.front.podman.statuses import PODMAN_STATUSES
from sundog.joined import joined_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from sundog.front.ch_run_line import ChRunLine
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.front.podman.run_line import Caller
    from sundog.front.podman.users import Who
    from sundog.front.stored import ImageDefaults

_STDIN = 0
# The options that the compiled ``ch-run`` serves, of those that ``run_line`` and ``exec_line`` give
# it: native/options.c.
_SERVED = frozenset(
    {
        *("--bind", "--cd", "--env-no-expand", "--gid", "--join-tag", "--private-tmp", "--seccomp"),
        *("--no-site-binds", "--set-env", "--storage", "--uid", "--unset-env", "--write-fake"),
    }
)


class Run:
    """A line of ``sundog run``, and what must be known to translate it.

    ``image`` is IMAGE as ``ch-run`` takes it.
    """

    __slots__ = ("caller", "context", "facts", "image", "line", "user")

    def __init__(
        self,
        line: Line,
        image: str,
        facts: ImageDefaults,
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
    """Become ``ch-run``.  Raises SundogError if that is not possible.

    The launcher in Python goes on in this interpreter.  The compiled ``ch-run`` gets what it
    serves.  Whatever an image has been pulled or changed with, such as threads and actions of
    signals, ends by execve(2).
    """
    _prepare_stdin(line)
    words = with_storage(start.arguments, context)
    environment = start.environment | PODMAN_STATUSES
    program = compiled("ch-run") if is_served(words) else None
    if program is not None:
        execute([program, *words], environment)
    go_on_as_ch_run(words, environment)


def with_storage(words: Sequence[str], context: Context) -> list[str]:
    """Return the words of ``ch-run`` with the storage directory that the user has named."""
    return [*([] if context.storage is None else [f"--storage={context.storage}"]), *words]


def go_on_as_ch_run(words: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the launcher in Python.  Raises SundogError if that is not possible."""
    if "sundog.image" in sys.modules:
        execute([*own_command("ch-run"), *words], environment)
    _launch(words, environment)


def is_served(words: Sequence[str]) -> bool:
    """Tell whether the compiled ``ch-run`` serves the options at the beginning of a line."""
    for word in words:
        name, _, value = word.partition("=")
        if not name.startswith("--"):
            break
        if name not in _SERVED or (name == "--bind" and value.count(":") > 1):
            return False
    return True


def execute(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program ``argv[0]``, with the signals that Python ignores at their defaults."""
    for number in (SIGPIPE, SIGXFSZ):
        signal(number, SIG_DFL)
    _flush()
    try:
        os.execve(argv[0], argv, environment)
    except (OSError, ValueError) as error:  # a NUL in an argument
        raise _not_executed(argv[0], error) from error


def _launch(words: list[str], environment: dict[str, str]) -> NoReturn:
    """Become ``ch-run`` without execve(2), which would start another interpreter."""
    try:
        arguments = [os.fsencode(word) for word in words]
        if any(b"\0" in word for word in arguments):
            raise ValueError("embedded null byte")
        os.environ.clear()
        os.environ.update(environment)
    except (OSError, ValueError) as error:
        raise _not_executed("ch-run", error) from error
    gc.disable()  # as in packaging/ch-run
    launcher = joined_module("sundog.runtime.launcher.ch_run")
    if launcher is None:
        from sundog.runtime.launcher import main as launcher
    _flush()
    close_as_execve()
    launcher.start_within(arguments)
    raise AssertionError("ch-run returns")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _not_executed(program: str, error: OSError | ValueError) -> SundogError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return SundogError(f"can't execute {program}: {reason}")


def _prepare_stdin(line: Line) -> None:
    """Give the command no standard input without -i; warn of -it without a terminal."""
    if line.is_set("interactive"):
        if line.is_set("tty") and not os.isatty(_STDIN):
            new_report().warning("-t: standard input is no terminal")
        return
    null = os.open(os.devnull, os.O_RDONLY)
    if null != _STDIN:
        os.dup2(null, _STDIN)
        os.close(null)
    os.set_inheritable(_STDIN, True)
