"""``ch-image undelete``: restore a deleted image, whose layers the build cache still has."""

from __future__ import annotations

import os

from sundog.errors import SundogError
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.run_options import chosen_cache_mode
from sundog.image.builder.options import CACHE_ENABLED
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import UndeleteArguments
    from sundog.front.cli.report import Report


def run(arguments: UndeleteArguments, report: Report) -> int:
    """Restore an image; return the exit status."""
    if chosen_cache_mode(arguments.cache, os.environ) != CACHE_ENABLED:
        raise SundogError("undelete: only available when cache is enabled", "leave out --no-cache")
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        image = store.deleted.restore(arguments.reference, chosen_platform(arguments.arch))
    report.info(f"restored image: {image.typed}")
    return 0
