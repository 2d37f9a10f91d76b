"""``ch-image delete``: images by name or pattern."""

from __future__ import annotations

from sundog.cli.image_arguments import storage_path
from sundog.errors import SundogError
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report


def run(arguments: ImageArguments, report: Report) -> int:
    """Delete images; what does not match is told at the end."""
    missing = []
    with Store.open(storage_path(arguments)) as store:
        for glob in arguments.globs:
            images = store.images.matching(glob)
            if not images:
                missing.append(glob)
            for image in images:
                report.info(f"deleting image: {image.typed}")
                store.images.delete(image.typed)
    if missing:
        raise SundogError(f"no matching image, can't delete: {' '.join(missing)}", "ch-image list")
    return 0
