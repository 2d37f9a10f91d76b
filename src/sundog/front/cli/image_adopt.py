"""``ch-image adopt``: copy images of shared stores into storage, under their names."""

from __future__ import annotations

from sundog.errors import NotInStorage, StoreError
from sundog.image.convert.adopt import adopted
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import AdoptArguments
    from sundog.front.cli.report import Report


def run(arguments: AdoptArguments, report: Report) -> int:
    """Copy the images; return the exit status."""
    shared = arguments.shared_stores(report.warning)
    with Store.open(arguments.storage_path()) as store:
        for name in arguments.names:
            if store.images.has(name):
                raise StoreError(f"already in storage: {name}", f"ch-image delete {name}")
            image = adopted(store, name, shared, report)
            if image is None:
                raise NotInStorage(f"not in a shared store: {name}", "ch-image list -l")
            store.images.put(image)
            report.info(f"adopted {name}")
    return 0
