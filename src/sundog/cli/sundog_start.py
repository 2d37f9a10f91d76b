"""Start ``ch-run`` for ``sundog``: this process becomes it."""

from __future__ import annotations

import os
import signal
import sys

from sundog.errors import SundogError
from sundog.podman.run_line import ImageFacts
from sundog.record.location import default_storage
from sundog.record.names import canonical_name, name_to_directory
from sundog.record.stack import read_stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from sundog.cli.sundog_command import Context
    from sundog.podman.options import Line
    from sundog.podman.run_line import Caller
    from sundog.podman.users import Who

_STDIN = 0
# So that ch-run ends with podman's exit statuses: launcher/statuses.py.
_STATUSES = {"SUNDOG_STATUSES": "podman"}


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


def image_facts(image: str, context: Context) -> ImageFacts | None:
    """Return what storage says of an image; None if it is not there.  Raises SundogError."""
    name = name_to_directory(canonical_name(image))
    storage = context.storage or os.fsdecode(default_storage(os.environb))
    path = os.path.join(os.path.abspath(storage), "images", name)
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SundogError(f"can't open {path}: {error.strerror}") from error
    try:
        stack = read_stack(directory)
    except OSError as error:
        raise SundogError(f"can't read {path}/stack: {error.strerror}") from error
    finally:
        os.close(directory)
    entrypoint, command = map(os.fsdecode, stack.entrypoint), map(os.fsdecode, stack.command)
    workdir, user = os.fsdecode(stack.workdir), os.fsdecode(stack.user)
    return ImageFacts(tuple(entrypoint), tuple(command), workdir, user)


def become_ch_run(arguments: Sequence[str], line: Line, context: Context) -> NoReturn:
    """Become ``ch-run``.  Raises SundogError if that is not possible."""
    _prepare_stdin(line)
    program = installed("ch-run") or [sys.executable, "-m", "sundog.launcher"]
    storage = [] if context.storage is None else [f"--storage={context.storage}"]
    execute([*program, *storage, *arguments], os.environ | _STATUSES)


def execute(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program ``argv[0]``, with the signals that Python ignores at their defaults."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(argv[0], argv, environment)
    except (OSError, ValueError) as error:  # a NUL in an argument
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SundogError(f"can't execute {argv[0]}: {reason}") from error


def installed(name: str) -> list[str] | None:
    """Return another command of this installation, as the first word of an argv, or None."""
    own = os.path.dirname(os.path.realpath(sys.argv[0]))
    for directory in (own, os.path.dirname(sys.executable)):
        program = os.path.join(directory, name)
        if os.access(program, os.X_OK):
            return [program]
    return None


def _prepare_stdin(line: Line) -> None:
    """Give the command no standard input without -i; warn of -it without a terminal."""
    if line.is_set("interactive"):
        if line.is_set("tty") and not os.isatty(_STDIN):
            from sundog.cli.sundog_command import new_report  # noqa: PLC0415 - seldom needed

            new_report().warning("-t: standard input is no terminal")
        return
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _STDIN)
    if null != _STDIN:
        os.close(null)
