"""``ch-image save``: write images to an archive or an OCI layout."""

from __future__ import annotations

import os
import sys

from sundog.errors import UsageError
from sundog.front.cli.registries import chosen_platform
from sundog.image.convert.adopt import all_stored_or_shared, stored_or_shared
from sundog.image.convert.save import DOCKER_ARCHIVE, save
from sundog.image.registry.leaving import have_images
from sundog.image.store.store import Store
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import SaveArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.image_files import Image

_STDOUT = "-"


def run(arguments: SaveArguments, report: Report) -> int:
    """Save images; return the exit status."""
    packing = Packing.choose(arguments.compression, os.environ)
    to_stdout = arguments.output == _STDOUT
    if to_stdout and sys.stdout.isatty():
        raise UsageError("standard output is a terminal", "name a file with -o, or redirect it")
    with Store.open(arguments.storage_path()) as store:
        shared = arguments.shared_stores(report.warning)
        platform = chosen_platform(arguments.arch)
        images: list[Image] = []
        for name in arguments.images:
            if arguments.format == DOCKER_ARCHIVE:  # it has no indexes
                images.append(stored_or_shared(store, name, shared, report, platform))
            else:
                images += all_stored_or_shared(store, name, shared, report, platform)
        have_images(store, images, report)
        save(
            store,
            images,
            sys.stdout.buffer if to_stdout else arguments.output,
            arguments.format,
            packing=packing,
            report=report,
        )
    report.info("done")
    return 0
