"""The stores and small images of tests/image/store."""

from tests.image.store.conftest import driver, open_store, root_tar, store

__all__ = ["driver", "open_store", "root_tar", "store"]
