"""``ch-image import``: make an image of a tar archive or a directory."""

from __future__ import annotations

import os
import stat

from sundog.base.record.names import canonical_name
from sundog.front.cli.registries import chosen_platform
from sundog.image.oci.platform import Platform
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import ImportArguments
    from sundog.front.cli.report import Report


def run(arguments: ImportArguments, report: Report) -> int:
    """Import an image; return the exit status."""
    canonical_name(arguments.reference)  # a bad name fails before the work begins
    platform = chosen_platform(arguments.arch)
    report.info(f"importing:    {arguments.path}")
    report.info(f"destination:  {arguments.reference}")
    with (
        Store.open(arguments.storage_path(), tell=report.info) as store,
        report.watched("importing", _size(arguments)),
    ):
        image = import_image(store, arguments.path, arguments.reference, platform, report.warning)
    if image.platform != Platform.of_host():
        report.info(f"platform:     {image.platform}")
    report.info("done")
    return 0


def _size(arguments: ImportArguments) -> int | None:
    """Return the size of the archive; None if it is a directory, a pipe or not there."""
    try:
        status = os.stat(arguments.path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
