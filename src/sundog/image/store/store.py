"""The store: everything in a storage directory, opened once per command and passed around.

A command that only looks takes no lock.  A command that refers to layers holds them (``hold``):
no other command removes them before an image refers to them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property

from sundog.base.configuration.storage import default_storage
from sundog.errors import SundogError
from sundog.image.store.directory import open_directory
from sundog.image.store.faults import StorageFaults
from sundog.image.store.images import Images
from sundog.image.store.layers import Layers
from sundog.image.store.storage import Storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from sundog.image.store.blobs import Blobs
    from sundog.image.store.cache import Cache
    from sundog.image.store.cache_mounts import CacheMounts
    from sundog.image.store.containers import KeptContainers
    from sundog.image.store.deleted import DeletedImages
    from sundog.image.store.drivers import Driver
    from sundog.image.store.gzip_indexes import GzipIndexes
    from sundog.image.store.last_builds import LastBuilds
    from sundog.image.store.locks import TurnLock

    # Paths that nothing refers to: those that no other command can know, and the others.
    Loose = tuple[Sequence[bytes], Sequence[bytes]]

_PATIENCE = 1.0  # seconds for the deletion of drafts after a signal


class Store:
    """An open storage directory; ``close`` it, or use it as a context manager.

    It makes the ``Storage`` and the managers, and hands each manager what it uses.
    """

    def __init__(
        self, path: bytes, driver: str | None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._storage = storage = Storage(path)
        self.path = path
        self.faults = storage.faults
        self.worker = storage.worker
        self.scratch = storage.scratch
        self.device = storage.device
        self.layers = Layers(storage, tell)
        self.images = Images(storage, self.layers, lambda: self.driver)
        self._driver_name = driver

    @classmethod
    def open(
        cls,
        path: str | None = None,
        *,
        driver: str | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Open the storage directory ``path``, by default that of ``default_path``.

        Makes the directory if it is not there, and deletes what killed commands left in it.
        ``driver`` is "overlay", "copy" or None, which means ``CH_IMAGE_DRIVER`` or what works here.
        ``tell`` gets a line for the user when layers are joined.
        Raises StoreError when the directory cannot be used.
        """
        directory = os.path.abspath(os.fsencode(path or default_path()))
        has_links = os.path.isdir(os.path.join(directory, b"img"))
        with StorageFaults(directory):
            open_directory(directory)
        store = cls(directory, driver, tell)
        # A store that cannot be written can still be read.
        with suppress(OSError, SundogError):
            if store._storage.collect_leftovers() or not has_links:
                store.images.heal_links()
        return store

    @cached_property
    def blobs(self) -> Blobs:
        """The blobs that came from outside, or are to go there."""
        from sundog.image.store.blobs import Blobs

        return Blobs(self._storage)

    @cached_property
    def cache(self) -> Cache:
        """The build cache."""
        from sundog.image.store.cache import Cache  # for builds

        return Cache(self._storage, self.layers)

    @cached_property
    def cache_mounts(self) -> CacheMounts:
        """The directories that RUN --mount=type=cache keeps for the next build."""
        from sundog.image.store.cache_mounts import CacheMounts

        return CacheMounts(self._storage)

    @cached_property
    def containers(self) -> KeptContainers:
        """The containers that keep their changes."""
        from sundog.image.store.containers import KeptContainers

        return KeptContainers(self._storage, self.layers, self.images)

    @property
    def imported(self) -> bytes:
        """The directory of imported results of builds, see ``builder.shared.archive``."""
        return self._storage.at(b"imported")

    @property
    def has_imported(self) -> bool:
        """Tell whether there are any."""
        return os.path.exists(os.path.join(self.imported, b"index.json"))

    @cached_property
    def last_builds(self) -> LastBuilds:
        """The records of the builds that made the images."""
        from sundog.image.store.last_builds import LastBuilds

        return LastBuilds(self._storage)

    @cached_property
    def deleted(self) -> DeletedImages:
        """The images that were deleted, and that may be restored."""
        from sundog.image.store.deleted import DeletedImages

        return DeletedImages(self._storage, self.layers, self.images)

    @cached_property
    def gzip_indexes(self) -> GzipIndexes:
        """The indexes of blobs that are an ordinary gzip."""
        from sundog.image.store.gzip_indexes import GzipIndexes

        return GzipIndexes(self._storage)

    @cached_property
    def driver(self) -> Driver:
        """The snapshot driver: what was asked for, else what works here."""
        from sundog.image.store.drivers import choose_driver

        return choose_driver(self._storage, self.layers, self._driver_name)

    def at(self, *names: bytes) -> bytes:
        """Return the path of something in the storage directory."""
        return self._storage.at(*names)

    def write_file(self, path: bytes, data: bytes) -> None:
        """Write a small file of the storage directory as a whole, as ``Storage.write_file``."""
        self._storage.write_file(path, data)

    def hold(self) -> None:
        """Keep every layer that is here now until the store is closed."""
        self._storage.hold()

    def turn(self, name: str) -> TurnLock:
        """Return the lock that commands take, one by one, to do what ``name`` says."""
        return self._storage.turn(name)

    def expect_garbage(self) -> None:
        """Note that layers are about to become useless: ``close`` removes them.

        Call this before they do.  If this process is killed, the next command removes them.
        """
        self._storage.expect_garbage()

    def is_idle(self) -> bool:
        """Tell whether no other command uses the store's layers at this moment."""
        is_idle = self._storage.use_lock.try_exclude()
        self._storage.use_lock.release()
        self.hold()
        return is_idle

    def clear(self) -> None:
        """Remove every image, layer, cache entry and cache mount.

        Raises StoreError when another command uses the store's layers.
        """
        from sundog.image.store.collect import clear

        clear(self._storage, self.cache_mounts)
        with suppress(OSError):
            self.images.heal_links()

    def clear_imported(self) -> None:
        """Remove the imported results of builds."""
        with suppress(FileNotFoundError):
            self.scratch.dispose(self.scratch.aside(self.imported))

    def collect(self) -> bool:
        """Remove all layers, flattened trees and blobs that nothing refers to.

        Return False, and remove nothing, when another command uses the store's layers.
        """
        self.expect_garbage()
        return self._collect()

    def collect_expected(self) -> bool:
        """Remove what this command and killed ones expect to be garbage; return as ``collect``."""
        return self._collect()

    def _collect(self) -> bool:
        """Remove what is expected to be garbage and is; return as ``collect``."""
        from sundog.image.store.collect import Collection

        return Collection(
            self._storage,
            self.layers,
            self.images,
            self.cache,
            blobs=self.blobs,
            containers=self.containers,
            deleted=self.deleted,
        ).run()

    def held(self) -> list[int]:
        """Return the sizes of deleted layers and trees that containers have mounted, in bytes."""
        from sundog.image.store.tree_work import content_size

        worker = self._storage.worker
        return [worker.call(content_size, path) for path in self._storage.scratch.held()]

    def close(self) -> None:
        """Remove what this command left over, and the garbage that it made.

        Everything that it put in place is on the device when this returns.
        """
        storage = self._storage
        try:
            # If the disk is full, this is lost, and is computed again next time.
            with suppress(OSError, SundogError):
                self.layers.write_down()
            storage.device.settle()
            storage.use_lock.release()
            if storage.garbage.is_due():
                self._collect()
            if storage.unreferenced.own:
                from sundog.image.store.collect import collect_own

                collect_own(storage)
            storage.scratch.close()
        finally:
            storage.worker.close()
            storage.locks.close()

    def leave_to_parent(self) -> None:
        """Continue in a process that was forked, which ``hand_over`` ends."""
        self._storage.leave_to_parent()

    def hand_over(self) -> Loose:
        """Close in a process that was forked; return what its parent has to ``take_over``.

        The parent collects the garbage.
        """
        storage = self._storage
        loose = (sorted(storage.unreferenced.own), sorted(storage.unreferenced.others))
        storage.unreferenced.forget()
        try:
            with suppress(OSError, SundogError):
                self.layers.write_down()
            storage.device.settle()
            storage.use_lock.release()
            storage.scratch.close()
        finally:
            storage.worker.close()
            storage.locks.close()
        return loose

    def take_over(self, loose: Loose) -> None:
        """Look after what a forked process put into the store, and nothing refers to yet."""
        for is_own, paths in zip((True, False), loose, strict=True):
            for path in paths:
                self._storage.unreferenced.add(path, is_own=is_own)

    def collect_leftovers(self) -> None:
        """Delete what a process that was killed has left."""
        self._storage.collect_leftovers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            with self.faults:
                self._close_in_spite_of_signals()
            return
        if not isinstance(error, Exception):  # a signal: the user waits for the end
            self._storage.scratch.hurry(_PATIENCE)
        with suppress(OSError, SundogError):  # one error is enough
            try:
                if self._storage.unreferenced.others:  # made for an image that will not come
                    self.expect_garbage()
            finally:
                self._close_in_spite_of_signals()
        # Every error of a command, from any thread or process, leaves through here.
        self.faults.__exit__(kind, error, traceback)

    def _close_in_spite_of_signals(self) -> None:
        """Close.  If a signal breaks that off, close once more; a second signal does not."""
        try:
            self.close()
        except Exception:
            raise
        except BaseException:
            self._storage.scratch.hurry(_PATIENCE)
            with suppress(OSError, SundogError):
                self._storage.collect_leftovers()  # what was on its way into the trash
                self.close()
            raise


def default_path() -> str:
    """Return where the storage directory is when no option says so."""
    return os.fsdecode(default_storage(os.environb))
