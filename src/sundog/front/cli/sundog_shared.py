"""``sundog create`` of an image in a shared store: its layers are copied, as for a build.

The container is then the user's own, and needs the shared store no more.  The image gets no name.
"""

from __future__ import annotations

import os

from sundog.base.configuration.stores import SharedStores
from sundog.front.cli.sundog_context import new_report
from sundog.image.convert.adopt import adopted
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.sundog_start import Run
    from sundog.front.podman.container import Container
    from sundog.front.podman.containers import Containers


def keep_shared(run: Run, containers: Containers, container: Container) -> bool:
    """Make a container of the shared image of ``run``; return False if it can't keep changes.

    Raises SundogError.
    """
    report = new_report()
    shared = SharedStores(os.environb, (), report.warning)
    with Store.open(run.context.storage) as store:
        if store.driver.name != "overlay":
            return False
        image = adopted(store, run.image, shared, report)
        if image is None:  # unpublished at this moment
            return False
        draft = store.images.draft(store.images.stackable(image))
        try:
            return containers.kept.make(container, image=os.fsdecode(draft))
        finally:
            store.scratch.dispose(draft)
