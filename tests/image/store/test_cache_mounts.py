"""Cache mounts that a program has damaged which cleans /var/tmp."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.image.store.cache_mounts import CacheRequest
from sundog.image.store.store import Store

pytestmark = pytest.mark.parametrize("driver", ["overlay"])  # cache mounts use no driver


def test_a_directory_without_its_lock_is_used(
    open_store: Callable[[], Store], storage: Path
) -> None:
    fills: list[bytes] = []

    def fill(tree: bytes) -> None:
        fills.append(tree)
        assert len(fills) < 4
        Path(os.fsdecode(tree), "file").write_text(f"{len(fills)}")

    request = CacheRequest("id", "locked", fill=fill)
    with open_store() as store:
        with store.cache_mounts.use([request], lambda _: None):
            pass
        (lock,) = storage.glob("cache-mounts/*/lock")
        lock.unlink()
        with store.cache_mounts.use([request], lambda _: None) as (mount,):
            assert lock.exists()
            assert Path(os.fsdecode(mount.path.tree), "file").read_text() == "1"
