"""``ch-image move``: move the storage directory."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import printable
from sundog.base.quoting import single_quoted
from sundog.image.store.moving import move
from sundog.image.store.store import default_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import MoveArguments
    from sundog.front.cli.report import Report


def run(arguments: MoveArguments, report: Report) -> int:
    """Move the storage directory; return the exit status."""
    path = os.fsencode(arguments.storage_path() or default_path())
    target = os.path.abspath(os.fsencode(arguments.directory))
    move(os.path.abspath(path), target, report.info)
    report.info(f"the storage directory is now: {printable(target)}")
    if os.path.realpath(path) != os.path.realpath(target):
        report.info(f"export CH_IMAGE_STORAGE={single_quoted(os.fsdecode(target))}")
    return 0
