"""Trees of layers that are files, in the tree worker: it sees them from their first use on."""

from __future__ import annotations

from sundog.base.kernel.namespaces import CLONE_NEWNS, unshare
from sundog.runtime.fuse.layer_server import enter_with, stores_of

# The stores whose layers this process sees.
_SEEN: set[bytes] = set()


def see(*trees: bytes) -> None:
    """Let this process, which is root in a user namespace of its own, see ``trees``.

    The mounts are in a mount namespace of this process, and end with it.  The server of a further
    store keeps the namespace before, and so the mounts there, until its own mount ends.
    Raises SundogError and OSError.
    """
    hidden = [tree for tree in trees if _SEEN.isdisjoint(stores_of([tree]))]
    stores = stores_of(hidden)
    if stores:
        enter_with(hidden, lambda: unshare(CLONE_NEWNS))
        _SEEN.update(stores)
