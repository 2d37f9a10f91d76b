"""``sundog version``, ``info`` and ``doctor``."""

from __future__ import annotations

import os

from sundog import __version__
from sundog.cli.output import print_line
from sundog.cli.sundog_command import run_safely, scanned
from sundog.cli.sundog_start import execute
from sundog.errors import SundogError
from sundog.podman.image_options import PLAIN
from sundog.podman.installation import ch_run, installed
from sundog.podman.stored import storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.cli.sundog_command import Context

_CHECK = "ch-checkns"


def version(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Print the version; return the exit status."""
    if scanned("version", words, PLAIN) is None:
        return 0

    def action() -> int:
        print_line(f"sundog version {__version__}")
        return 0

    return run_safely(action)


def info(words: Sequence[str], context: Context) -> int:
    """Print facts about the installation and the storage; return the exit status."""
    if scanned("info", words, PLAIN) is None:
        return 0

    def action() -> int:
        machine = os.uname()
        for name, value in (
            ("version", __version__),
            ("storage", storage_directory(context.storage)),
            ("ch-run", " ".join(ch_run())),
            ("kernel", machine.release),
            ("architecture", machine.machine),
        ):
            print_line(f"{name + ':':14}{value}")
        return 0

    return run_safely(action)


def doctor(words: Sequence[str], context: Context) -> int:  # noqa: ARG001
    """Become ch-checkns, which says what of this machine keeps containers from starting."""
    if scanned("doctor", words, PLAIN) is None:
        return 0
    program = installed(_CHECK)
    if program is None:
        raise SundogError(f"{_CHECK} is not installed beside sundog", "install Sundog again")
    return execute([program], dict(os.environ))
