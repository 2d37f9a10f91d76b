"""Names of images in shared stores, for the subcommands of ``ch-image`` that look at images."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

from sundog.base.kernel.libc import printable
from sundog.base.record.location import account_name
from sundog.base.record.names import canonical_name, spelled_out
from sundog.errors import NotInStorage, ReferenceSyntaxError
from sundog.front.cli.registries import chosen_platform
from sundog.image.store.images import is_glob
from sundog.image.store.shared_images import read_shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.cli.common_arguments import ImageArguments
    from sundog.front.cli.report import Report
    from sundog.image.builder.bases import Share
    from sundog.image.store.image_files import Image
    from sundog.image.store.shared_images import SharedDescription
    from sundog.image.store.store import Store


def shared_image(arguments: ImageArguments, name: str, report: Report) -> SharedDescription | None:
    """Return the image of a shared store that has this name, and is for --arch.

    Raises SundogError.
    """
    found = arguments.shared_stores(report.warning).find(canonical_name(name))
    shared = None if found is None else read_shared(found)
    return shared if shared and shared.runs_on(chosen_platform(arguments.arch)) else None


def shared_beside(
    arguments: ImageArguments, matching: Mapping[str, Sequence[Image]], report: Report
) -> list[SharedDescription]:
    """Return the shared images that names and globs match, besides the user's own images.

    ``matching`` has the own images for each of them.  An own image hides a shared one of its name.
    With --arch, images for others are left out.
    Raises NotInStorage for a name or a glob that matches nothing.
    """
    stores = arguments.shared_stores(report.warning)
    own = {image.reference for images in matching.values() for image in images}
    platform = chosen_platform(arguments.arch)
    found: dict[str, SharedDescription] = {}
    for pattern, images in matching.items():
        shared: list[SharedDescription] = []
        if is_glob(pattern):
            shared = [image for image in map(read_shared, stores.images()) if _fits(image, pattern)]
        elif not images and (one := stores.find(_canonical(pattern))):
            shared = [read_shared(one)]
        shared = [image for image in shared if image.runs_on(platform)]
        if not images and not shared:
            raise NotInStorage(f"no matching image: {pattern}", "ch-image list")
        found.update((image.reference, image) for image in shared if image.reference not in own)
    return list(found.values())


def all_shared(arguments: ImageArguments, report: Report) -> list[SharedDescription]:
    """Return all images of shared stores, those for --arch alone.  Raises SundogError."""
    platform = chosen_platform(arguments.arch)
    found = map(read_shared, arguments.shared_stores(report.warning).images())
    return [image for image in found if image.runs_on(platform)]


def _fits(image: SharedDescription, pattern: str) -> bool:
    pattern = spelled_out(pattern)
    return fnmatchcase(image.typed, pattern) or fnmatchcase(image.reference, pattern)


def sharer(arguments: ImageArguments, report: Report) -> Share:
    """Return the function that copies base images of a build from shared stores."""
    stores = arguments.shared_stores(report.warning)

    def share_base(store: Store, text: str) -> Image | None:
        from sundog.image.convert.adopt import adopted  # few builds need it

        return adopted(store, text, stores, report)

    return share_base


def owner_hint(arguments: ImageArguments, name: str, report: Report) -> str:
    """Return the hint that says whose a shared image is, "" if ``name`` is none."""
    reference = "" if is_glob(name) else _canonical(name)
    found = arguments.shared_stores(report.warning).find(reference) if reference else None
    if found is None:
        return ""
    owner = printable(account_name(os.lstat(found.path).st_uid))
    return f"it is in the shared store {printable(found.store.path)} of {owner}, who can change it"


def _canonical(name: str) -> str:
    try:
        return canonical_name(name)
    except ReferenceSyntaxError:
        return ""
