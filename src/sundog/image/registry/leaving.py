"""Images that are about to leave: all of them is here, and checked.

So a layer that came leaves as it came, byte for byte, and none leaves that nobody has compared with
its tar.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.record.lazy_layer import is_incomplete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report


def have_images(store: Store, images: Iterable[Image], report: Report) -> None:
    """Complete the layers of ``images``; see ``have_layers``."""
    have_layers(store, [layer for image in images for layer in image.layers], report)


def have_layers(store: Store, layers: Iterable[LayerId], report: Report) -> None:
    """Complete ``layers``; those in a layout stay there.  Raises what ``complete_layers`` raises.

    The login for the place where they go is not for that where they come from: only stored logins
    are used.
    """
    found = [layer for layer in layers if is_incomplete(store.layers.directory(layer))]
    if not found:
        return
    from sundog.image.registry.completion import complete_layers  # few images need it
    from sundog.image.registry.lazy_layer import source_of
    from sundog.image.registry.session import Session

    store.layers.forget(found)
    ways: dict[bool, list[LayerId]] = {}
    for layer in found:
        with suppress(FileNotFoundError):  # it is in a layout, or another process was first
            verify = source_of(store.layers.directory(layer)).verify
            ways.setdefault(verify, []).append(layer)
    for verify, some in ways.items():
        complete_layers(store, Session(os.environ, report, verify=verify), some, report)
