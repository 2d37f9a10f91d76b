"""``ch-image inspect``: print everything about images, as JSON."""

from __future__ import annotations

from sundog.errors import NotInStorage
from sundog.front.cli.output import print_json
from sundog.image.store.description import describe
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import InspectArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.image_files import Image


def run(arguments: InspectArguments, report: Report) -> int:  # noqa: ARG001 - as every subcommand
    """Print a list with one object for each image that matches a name or pattern."""
    found: dict[str, Image] = {}
    with Store.open(arguments.storage_path()) as store:
        store.hold()
        for glob, images in store.images.matching(*arguments.globs).items():
            if not images:
                raise NotInStorage(f"no matching image: {glob}", "ch-image list")
            found.update((image.reference, image) for image in images)
        described = [describe(store, image) for image in found.values()]
    print_json(described)
    return 0
