"""``ch-image tag``: give an image another name."""

from __future__ import annotations

from dataclasses import replace

from sundog.base.record.names import canonical_name
from sundog.errors import NotInStorage
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.shared_names import owner_hint
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import TagArguments
    from sundog.front.cli.report import Report


def run(arguments: TagArguments, report: Report) -> int:
    """Give the image a further name; an image that has that name loses it."""
    target = arguments.target
    canonical = canonical_name(target)
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        try:
            image = store.images.get(arguments.reference, chosen_platform(arguments.arch))
        except NotInStorage as error:
            error.hint = owner_hint(arguments, arguments.reference, report) or error.hint
            raise
        store.images.put(replace(image, reference=canonical, typed=target))
    report.info(f"tagged {image.typed}: {target}")
    return 0
