"""``ch-image index``: make the indexes by which gzip layers start before they are here."""

from __future__ import annotations

from sundog.base.record.names import spelled_out
from sundog.front.cli.registries import open_session, pull_options
from sundog.image.registry.gzip_indexing import index_image
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import IndexArguments
    from sundog.front.cli.report import Report


def run(arguments: IndexArguments, report: Report) -> int:
    """Make the indexes; return the exit status."""
    reference = spelled_out(arguments.reference)
    options = pull_options(arguments)
    session = open_session(arguments, report)
    report.info(f"indexing image:   {reference}")
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        count = index_image(store, session, reference, options=options, report=report)
    report.info(f"done: indexes of {count} layers")
    return 0
