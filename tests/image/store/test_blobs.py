"""Blobs: two processes that fetch the same one."""

import os
from collections.abc import Callable

import pytest

from sundog.image.oci.digest import Digest
from sundog.image.store.held_lock import HeldLock
from sundog.image.store.locks import KernelLocks
from sundog.image.store.store import Store

pytestmark = pytest.mark.parametrize("driver", ["overlay"])  # blobs use no driver


def test_another_process_settles_the_blob_while_this_one_looks(
    open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Digest.of(b"content")
    with open_store() as store:
        real_open = KernelLocks.open

        def lock(
            self: KernelLocks, path: bytes, operation: int, *, create: bool = False
        ) -> HeldLock:
            held = real_open(self, path, operation, create=create)
            os.makedirs(os.path.dirname(store.blobs.path(digest)), exist_ok=True)
            os.rename(path, store.blobs.path(digest))
            return held

        monkeypatch.setattr(KernelLocks, "open", lock)
        with store.blobs.partial(digest) as partial:
            assert partial is None
