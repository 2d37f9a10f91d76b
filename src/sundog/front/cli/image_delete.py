"""``ch-image delete``: images by name or pattern."""

from __future__ import annotations

from sundog.errors import SundogError
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.shared_names import owner_hint
from sundog.image.store.images import is_glob
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.image_subcommands import DeleteArguments
    from sundog.front.cli.report import Report
    from sundog.image.oci.platform import Platform
    from sundog.image.store.image_files import Image


def run(arguments: DeleteArguments, report: Report) -> int:
    """Delete images; report names and patterns without a match at the end.

    A pattern means the images for all platforms; a name means one, as everywhere.
    """
    platform = chosen_platform(arguments.arch)
    with report.watched("deleting"), Store.open(arguments.storage_path()) as store:
        matching = store.images.matching(*arguments.globs)
        missing, found = [], {}
        for glob, images in matching.items():
            doomed = _doomed(store, glob, images, platform)
            if not doomed:
                missing.append(glob)
            for image in doomed:
                left = [each.platform for each in images if each not in doomed]
                found[image.reference, image.platform] = image
                if len(images) == 1 or is_glob(glob):
                    report.info(f"deleting image: {image.typed}")
                    continue
                report.info(f"deleting image: {image.typed} ({image.platform})")
                if left:
                    report.info(f"still in storage: {image.typed}: {', '.join(map(str, left))}")
        store.deleted.remember(*found.values())
        store.images.remove(*found.values())
    if missing:
        raise SundogError(
            f"no matching image, can't delete: {' '.join(missing)}",
            owner_hint(arguments, missing[0], report) or "ch-image list",
        )
    return 0


def _doomed(
    store: Store, glob: str, images: Sequence[Image], platform: Platform | None
) -> Sequence[Image]:
    """Return those of the images that match ``glob`` which the user means.

    Raises NotInStorage for a name with images for several platforms, none of them this machine's.
    """
    if platform is not None:
        return [each for each in images if each.platform in platform.runnable()]
    if len(images) > 1 and not is_glob(glob):
        return (store.images.get(glob),)
    return images
