"""``sundog version``, ``info`` and ``doctor``."""

from __future__ import annotations

import os

from sundog import __version__
from sundog.base.installation import own_command
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import run_safely
from sundog.front.cli.sundog_scan import scanned_alone
from sundog.front.cli.sundog_start import execute
from sundog.front.podman.image_options import DOCTOR, PLAIN
from sundog.front.stored import storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context

_CHECK = "ch-checkns"


def version(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Print the version; return the exit status."""
    if scanned_alone("version", words, PLAIN) is None:
        return 0

    def action() -> int:
        print_line(f"sundog version {__version__}")
        return 0

    return run_safely(action)


def info(words: Sequence[str], context: Context) -> int:
    """Print facts about the installation and the storage; return the exit status."""
    if scanned_alone("info", words, PLAIN) is None:
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
    line = scanned_alone("doctor", words, DOCTOR)
    if line is None:
        return 0
    storage = [f"--storage={context.storage}"] if context.storage is not None else []
    return execute([*own_command(_CHECK), "--all", *storage, *line.translated()], dict(os.environ))
