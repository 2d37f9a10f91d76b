"""``ch-image delete``: images by name or pattern."""

from __future__ import annotations

from sundog.errors import SundogError
from sundog.front.cli.shared_names import owner_hint
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import DeleteArguments
    from sundog.front.cli.report import Report


def run(arguments: DeleteArguments, report: Report) -> int:
    """Delete images; report names and patterns without a match at the end."""
    with report.watched("deleting"), Store.open(arguments.storage_path()) as store:
        matching = store.images.matching(*arguments.globs)
        missing = [glob for glob, images in matching.items() if not images]
        found = {image.typed: image for images in matching.values() for image in images}
        names = list(found)
        for name in names:
            report.info(f"deleting image: {name}")
        store.deleted.remember(*found.values())
        store.images.delete(*names)
    if missing:
        raise SundogError(
            f"no matching image, can't delete: {' '.join(missing)}",
            owner_hint(arguments, missing[0], report) or "ch-image list",
        )
    return 0
