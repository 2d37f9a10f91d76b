"""``ch-image unpublish``: remove the name of an image from a shared store."""

from __future__ import annotations

from sundog.image.convert.publish import Publisher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import UnpublishArguments
    from sundog.front.cli.report import Report


def run(arguments: UnpublishArguments, report: Report) -> int:
    """Remove the name; return the exit status."""
    Publisher(arguments.directory, is_new=False).unpublish(arguments.reference)
    report.info(f"removed {arguments.reference} from {arguments.directory}; its files stay for now")
    return 0
