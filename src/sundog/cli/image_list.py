"""``ch-image list``: the images in storage, as they were typed."""

from __future__ import annotations

from sundog.cli.image_arguments import storage_path
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report


def run(arguments: ImageArguments, report: Report) -> int:  # noqa: ARG001 - as every subcommand
    """Print the names, one a line; with ``--long``, when the images were made."""
    with Store.open(storage_path(arguments)) as store:
        images = store.images.list()
    width = max((len(image.typed) for image in images), default=0)
    for image in images:
        print(f"{image.typed:{width}} | {image.config.created}" if arguments.long else image.typed)
    return 0
