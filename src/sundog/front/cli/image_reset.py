"""``ch-image reset``: delete all images, layers and the build cache."""

from __future__ import annotations

import os

from sundog.image.store.reset import reset
from sundog.image.store.store import default_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.common_arguments import ImageArguments
    from sundog.front.cli.report import Report


def run(arguments: ImageArguments, report: Report) -> int:
    """Empty the storage directory; return the exit status."""
    path = arguments.storage_path() or default_path()
    report.info(f"deleting everything in storage directory: {path}")
    with report.watched("deleting"):
        reset(os.fsencode(path))
    return 0
