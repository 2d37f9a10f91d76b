"""``ch-image unpack``: make the layers of images trees again that are files."""

from __future__ import annotations

from sundog.image.convert.layer_file import unpack_image
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import UnpackArguments
    from sundog.front.cli.report import Report


def run(arguments: UnpackArguments, report: Report) -> int:
    """Unpack the images; return the exit status."""
    with Store.open(arguments.storage_path()) as store:
        for reference in arguments.references:
            image = store.images.get(reference)
            count = unpack_image(store, image, report)
            report.info(f"unpacked {image.typed}: {count} of {len(image.layers)} layers")
    return 0
