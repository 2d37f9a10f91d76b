"""``ch-image gestalt``: facts about this installation, for scripts."""

from __future__ import annotations

import os
import sys

from sundog.base.configuration.storage import default_storage
from sundog.errors import EXIT_ERROR, SundogError
from sundog.front.cli.output import print_bytes, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import GestaltArguments
    from sundog.front.cli.report import Report


def run(arguments: GestaltArguments, report: Report) -> int:
    """Print what ``KEY`` stands for; return the exit status."""
    match arguments.key:
        case "storage-path":
            chosen = arguments.storage_path()
            path = default_storage(os.environb) if chosen is None else os.fsencode(chosen)
            _print_path(arguments, path)
        case "python-path":
            _print_path(arguments, os.fsencode(sys.executable))
        case "bucache-dot":
            from sundog.front.cli.developer import has_dot

            return 0 if has_dot() else EXIT_ERROR
        case "logging":
            _print_messages(report)
            if arguments.fail:
                raise SundogError("the program failed inexplicably", "leave out --fail")
    return 0


def _print_path(arguments: GestaltArguments, path: bytes) -> None:
    if arguments.format == "json":
        print_json({arguments.key.replace("-", "_"): os.fsdecode(path)})
    else:
        print_bytes(path)


def _print_messages(report: Report) -> None:
    """Print a message at each level."""
    report.debug("debug")
    report.verbose("verbose")
    report.info("info")
    report.warning("warning")
    report.fatal("error")
