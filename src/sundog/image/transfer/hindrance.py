"""Obstacles to layers that are files."""

from __future__ import annotations

import os

from sundog.runtime.fuse.device import FUSE_DEVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.store.store import Store


def hindrance(store: Store) -> str:
    """Return why nothing could show such layers of ``store``; "" if they can be shown."""
    if store.driver.name != "overlay":
        return f"the storage driver is {store.driver.name}"
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        return "this user may not open /dev/fuse"
    return ""
