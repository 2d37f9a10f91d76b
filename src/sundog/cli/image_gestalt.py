"""``ch-image gestalt``: facts about this installation, for scripts."""

from __future__ import annotations

import os

from sundog.cli.image_arguments import storage_path
from sundog.cli.output import print_bytes, print_json
from sundog.record.location import default_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report


def run(arguments: ImageArguments, report: Report) -> int:  # noqa: ARG001 - as every subcommand
    """Print what ``KEY`` stands for; return the exit status."""
    chosen = storage_path(arguments)
    path = default_storage(os.environb) if chosen is None else os.fsencode(chosen)
    if arguments.format == "json":
        print_json({arguments.key.replace("-", "_"): os.fsdecode(path)})
    else:
        print_bytes(path)
    return 0
