"""``ch-image pack``: make each layer of images one file."""

from __future__ import annotations

from sundog.errors import NotInStorage
from sundog.front.cli.shared_names import owner_hint
from sundog.image.convert.layer_file import pack_image
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import PackArguments
    from sundog.front.cli.report import Report


def run(arguments: PackArguments, report: Report) -> int:
    """Pack the images; return the exit status."""
    with Store.open(arguments.storage_path()) as store:
        for reference in arguments.references:
            try:
                image = store.images.get(reference)
            except NotInStorage as error:
                error.hint = owner_hint(arguments, reference, report) or error.hint
                raise
            count = pack_image(store, image, report)
            report.info(f"packed {image.typed}: {count} of {len(image.layers)} layers")
    return 0
