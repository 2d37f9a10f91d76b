"""The stores and small images of tests/store."""

from tests.store.conftest import driver, open_store, root_tar, store

__all__ = ["driver", "open_store", "root_tar", "store"]
