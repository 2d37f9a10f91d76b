"""``ch-image load``: take images from an archive or an OCI layout."""

from __future__ import annotations

from sundog.base.record.names import canonical_name
from sundog.front.cli.registries import chosen_platform
from sundog.image.convert.load import load
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import LoadArguments
    from sundog.front.cli.report import Report


def run(arguments: LoadArguments, report: Report) -> int:
    """Load images; return the exit status."""
    name = arguments.destination
    if name is not None:
        canonical_name(name)  # a bad name fails before the work begins
    platform = chosen_platform(arguments.arch)
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        load(store, arguments.path, name, platform=platform, report=report)
    report.info("done")
    return 0
