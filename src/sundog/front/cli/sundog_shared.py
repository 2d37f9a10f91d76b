"""Images of shared stores for ``sundog``: those that storage lacks.

``sundog create`` copies the layers, as a build does.  The container is then the user's own, and
needs the shared store no more.  The image gets no name.
"""

from __future__ import annotations

import os
from contextlib import closing

from sundog.base.configuration.stores import SharedStores
from sundog.base.record.names import canonical_name, spelled_out
from sundog.front.cli.sundog_context import new_report
from sundog.image.oci.platform import Platform
from sundog.image.store.shared_images import read_shared
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.sundog_context import Context
    from sundog.front.cli.sundog_start import Run
    from sundog.front.podman.container import Container
    from sundog.front.podman.containers import Containers
    from sundog.image.store.shared_images import SharedDescription


def shared_images(store: Store) -> list[SharedDescription]:
    """Return the images of shared stores whose names ``store`` lacks.  Raises SundogError."""
    with closing(_stores()) as shared:
        found = shared.images()
        names = {image.path: spelled_out(os.fsdecode(image.directory)) for image in found}
        return [read_shared(image) for image in found if not store.images.has(names[image.path])]


def is_shared_for(name: str, platform: str, context: Context) -> bool:
    """Tell whether ``name`` is a shared image that runs on ``platform``.  Raises SundogError."""
    wanted = Platform.parse(platform)
    with Store.open(context.storage) as store, closing(_stores()) as shared:
        found = None if store.images.has(name) else shared.find(canonical_name(name))
        return found is not None and read_shared(found).runs_on(wanted)


def _stores() -> SharedStores:
    return SharedStores(os.environb, (), new_report().warning)


def keep_shared(run: Run, containers: Containers, container: Container) -> bool:
    """Make a container of the shared image of ``run``; return False if it can't keep changes.

    Raises SundogError.
    """
    from sundog.image.convert.adopt import adopted  # few lines copy an image

    report, shared = new_report(), _stores()
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
