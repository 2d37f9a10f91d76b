"""``ch-image delete``: images by name or pattern."""

from __future__ import annotations

from sundog.cli.image_arguments import storage_path
from sundog.errors import EXIT_ERROR, NotInStorage, ReferenceSyntaxError
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report

_GLOB_CHARACTERS = "*?["


def run(arguments: ImageArguments, report: Report) -> int:
    """Delete images; what does not match is reported, and the rest deleted all the same."""
    missing = 0
    with Store.open(storage_path(arguments)) as store:
        for glob in arguments.globs:
            names = _matching(store, glob)
            if not names:
                missing += 1
                report.fatal(f"no matching image, can't delete: {glob}")
            for name in names:
                report.info(f"deleting image: {name}")
                store.images.delete(name)
    if missing:
        report.fatal(f"unable to delete {missing} invalid image(s)", "ch-image list")
        return EXIT_ERROR
    return 0


def _matching(store: Store, glob: str) -> list[str]:
    """Return the typed names of the images that ``glob`` matches."""
    if any(char in glob for char in _GLOB_CHARACTERS):
        return [image.typed for image in store.images.matching(glob)]
    try:
        return [store.images.get(glob).typed]
    except (NotInStorage, ReferenceSyntaxError):
        return []
