"""``sundog version``, ``info`` and ``doctor``."""

from __future__ import annotations

import os

from sundog import __version__
from sundog.base.installation import own_command
from sundog.errors import UsageError
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_command import run_safely, scanned
from sundog.front.cli.sundog_start import execute
from sundog.front.podman.image_options import DOCTOR, PLAIN
from sundog.front.podman.stored import storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_command import Context
    from sundog.front.podman.options import Line, Option

_CHECK = "ch-checkns"


def version(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Print the version; return the exit status."""
    if _scanned("version", words, PLAIN) is None:
        return 0

    def action() -> int:
        print_line(f"sundog version {__version__}")
        return 0

    return run_safely(action)


def info(words: Sequence[str], context: Context) -> int:
    """Print facts about the installation and the storage; return the exit status."""
    if _scanned("info", words, PLAIN) is None:
        return 0

    def action() -> int:
        machine = os.uname()
        for name, value in (
            ("version", __version__),
            ("storage", storage_directory(context.storage)),
            ("ch-run", " ".join(own_command("ch-run"))),
            ("kernel", machine.release),
            ("architecture", machine.machine),
        ):
            print_line(f"{name + ':':14}{value}")
        return 0

    return run_safely(action)


def doctor(words: Sequence[str], context: Context) -> int:
    """Become ``ch-checkns --all``, which tries what Sundog needs on this machine."""
    line = _scanned("doctor", words, DOCTOR)
    if line is None:
        return 0
    storage = [f"--storage={context.storage}"] if context.storage is not None else []
    return execute([*own_command(_CHECK), "--all", *storage, *line.translated()], dict(os.environ))


def _scanned(name: str, words: Sequence[str], options: Sequence[Option]) -> Line | None:
    """Return ``scanned`` of a subcommand that takes no operands; raise UsageError for one."""
    line = scanned(name, words, options)
    if line is not None and line.operands:
        raise UsageError(f"{name}: unexpected argument: {line.operands[0]}", f"sundog {name}")
    return line
