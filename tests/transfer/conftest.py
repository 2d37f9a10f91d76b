"""The stores and small images that the tests of the store have."""

from tests.store.conftest import driver, open_store, root_tar, store

__all__ = ["driver", "open_store", "root_tar", "store"]
