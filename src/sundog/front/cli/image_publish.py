"""``ch-image publish``: put images into a shared store, or remove what it no longer needs."""

from __future__ import annotations

from sundog.front.cli.output import human_size
from sundog.image.convert.adopt import stored_or_shared
from sundog.image.convert.publish import Publisher
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import PublishArguments
    from sundog.front.cli.report import Report

_GRACE = 14 * 24 * 60 * 60.0  # seconds


def run(arguments: PublishArguments, report: Report) -> int:
    """Publish images, or collect garbage; return the exit status."""
    if arguments.collect:
        publisher = Publisher(arguments.directory, is_new=False)
        grace = _GRACE if arguments.grace is None else arguments.grace
        count, size = publisher.collect(grace)
        report.info(f"removed {count} layer{'' if count == 1 else 's'}, {human_size(size)}")
        return 0
    with Store.open(arguments.storage_path()) as store:
        shared = arguments.shared_stores(report.warning)
        images = {name: stored_or_shared(store, name, shared, report) for name in arguments.images}
        publisher = Publisher(arguments.directory)
        for name, image in images.items():
            shown = arguments.known_as or name
            report.info(f"publishing {name} in {arguments.directory}")
            written, there = publisher.publish(store, image, shown, report)
            report.info(f"published {shown}: {written} layers written, {there} were there")
    return 0
