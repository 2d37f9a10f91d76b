"""``ch-image import``: make an image of a tar archive or a directory."""

from __future__ import annotations

from sundog.cli.image_arguments import storage_path
from sundog.record.names import canonical_name
from sundog.store.store import Store
from sundog.transfer.importer import import_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report


def run(arguments: ImageArguments, report: Report) -> int:
    """Import an image; return the exit status."""
    canonical_name(arguments.reference)  # a bad name fails before the work begins
    report.info(f"importing:    {arguments.path}")
    report.info(f"destination:  {arguments.reference}")
    with Store.open(storage_path(arguments)) as store:
        import_image(store, arguments.path, arguments.reference)
    report.info("done")
    return 0
