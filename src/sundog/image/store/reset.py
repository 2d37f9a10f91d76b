"""``ch-image reset``: empty a storage directory, whatever format it has."""

from __future__ import annotations

import os

from sundog.base.kernel.files import sync_name
from sundog.base.kernel.libc import printable
from sundog.base.record.location import STORAGE_VERSION
from sundog.base.record.own_storage import FORMAT, OLDER_FORMAT, check_owner, read_version
from sundog.errors import StoreError
from sundog.image.layer.remove import remove_tree
from sundog.image.store.store import Store


def reset(path: bytes) -> None:
    """Remove every image, layer, cache entry and cache mount of the storage directory ``path``.

    Running containers go on.  A directory of another format is emptied and made anew.  Raises
    StoreError when the directory is not Sundog's, or while another command uses it.
    """
    version = read_version(path)
    if version is None:
        raise StoreError(f"not a Sundog storage directory: {printable(path)}")
    if version not in (FORMAT, OLDER_FORMAT):
        check_owner(path)
        _raze(path)
    with Store.open(os.fsdecode(path)) as store:
        store.clear()


def _raze(path: bytes) -> None:
    # The version file goes last: without it Sundog would take this for a stranger's directory.
    for name in os.listdir(path):
        if name != STORAGE_VERSION:
            remove_tree(os.path.join(path, name))
    version = os.path.join(path, STORAGE_VERSION)
    sync_name(version)
    os.unlink(version)
