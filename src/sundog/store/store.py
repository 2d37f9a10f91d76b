"""The storage directory as one value: opened once per command, passed to whoever needs it.

A command that only looks takes no lock.  One that refers to layers holds them (``hold``), so that
no other command removes them before there is an image that needs them.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cached_property

from sundog.errors import SundogError
from sundog.record.location import default_storage
from sundog.store.device import Device
from sundog.store.directory import COLLECTION_DUE, USE_LOCK, open_directory
from sundog.store.faults import StorageFaults
from sundog.store.images import Images
from sundog.store.layers import Layers
from sundog.store.locks import TurnLock, UseLock
from sundog.store.loose import Loose
from sundog.store.scratch import Scratch
from sundog.store.worker import TreeWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sundog.store.blobs import Blobs
    from sundog.store.cache import Cache
    from sundog.store.cache_mounts import CacheMounts
    from sundog.store.drivers import Driver


class Store:
    """An open storage directory; ``close`` it, or use it as a context manager."""

    def __init__(self, path: bytes, driver: str | None) -> None:
        self.path = path
        self.faults = StorageFaults(path)
        self.worker = TreeWorker()
        self.scratch = Scratch(path)
        self.device = Device(path)
        self.loose = Loose()
        self.layers = Layers(self)
        self.images = Images(self)
        self.use_lock = UseLock(self.at(USE_LOCK))
        self._driver_name = driver
        self._garbage = False

    @classmethod
    def open(cls, path: str | None = None, *, driver: str | None = None) -> Self:
        """Open the storage directory ``path``, by default that of ``default_path``.

        Makes it if it is not there, and disposes of what killed commands left in it.  ``driver``
        is "overlay", "copy" or None, which means ``CH_IMAGE_DRIVER`` or what works here.  Raises
        StoreError when the directory cannot be used.
        """
        directory = os.path.abspath(os.fsencode(path or default_path()))
        with StorageFaults(directory):
            open_directory(directory)
        store = cls(directory, driver)
        # A store that cannot be written can still be read.
        with suppress(OSError, SundogError):
            store.scratch.collect(store.expect_garbage)
        return store

    def at(self, *names: bytes) -> bytes:
        """Return the path of something in the storage directory."""
        return b"/".join((self.path, *names))

    @cached_property
    def blobs(self) -> Blobs:
        """What came from outside, or is to go there."""
        from sundog.store.blobs import Blobs  # noqa: PLC0415 - a look needs none

        return Blobs(self)

    @cached_property
    def cache(self) -> Cache:
        """The build cache."""
        from sundog.store.cache import Cache  # noqa: PLC0415 - for builds

        return Cache(self)

    @cached_property
    def cache_mounts(self) -> CacheMounts:
        """What a RUN keeps for the next build."""
        from sundog.store.cache_mounts import CacheMounts  # noqa: PLC0415 - seldom needed

        return CacheMounts(self)

    @cached_property
    def driver(self) -> Driver:
        """The snapshot driver: what was asked for, else what works here."""
        from sundog.store.drivers import choose_driver  # noqa: PLC0415 - a look needs none

        return choose_driver(self, self._driver_name)

    def hold(self) -> None:
        """Keep every layer that is here now until the store is closed."""
        self.use_lock.share()

    def turn(self, name: str) -> TurnLock:
        """Return the lock for whoever is about to do what ``name`` says."""
        return TurnLock(self.at(b"locks"), name)

    def expect_garbage(self) -> None:
        """Tell before layers may become useless: ``close`` removes them.

        Should this process be killed before that, the next one does it.
        """
        if not self._garbage:
            try:
                os.close(os.open(self.at(COLLECTION_DUE), os.O_WRONLY | os.O_CREAT, 0o600))
            except OSError as error:  # if there is no room for the note, only this process knows
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
            self._garbage = True

    def close(self) -> None:
        """Remove what this command left over, and what became useless through it.

        What it put in place is on the device then.
        """
        try:
            # What cannot be written down, as in a store on a full disk, is found out again.
            with suppress(OSError, SundogError):
                self.layers.write_down()
            self.device.settle()
            self.use_lock.release()
            if self._garbage or os.path.exists(self.at(COLLECTION_DUE)):
                from sundog.store.collect import collect  # noqa: PLC0415 - seldom needed

                collect(self)
            elif self.loose.own:
                from sundog.store.collect import collect_own  # noqa: PLC0415 - seldom needed

                collect_own(self)
            self.scratch.close()
        finally:
            self.worker.close()

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
        with suppress(OSError, SundogError):  # one error is enough
            try:
                if self.loose.others:  # without the image that they were made for
                    self.expect_garbage()
            finally:
                self._close_in_spite_of_signals()
        # Whichever thread or process met it, and in whatever it did: here it comes by.
        self.faults.__exit__(kind, error, traceback)

    def _close_in_spite_of_signals(self) -> None:
        """Close; once more if a signal breaks that off, which only the first does."""
        try:
            self.close()
        except Exception:
            raise
        except BaseException:
            with suppress(OSError, SundogError):
                self.scratch.collect(self.expect_garbage)  # what was on its way into the trash
                self.close()
            raise


def default_path() -> str:
    """Return where the storage directory is when no option says so."""
    return os.fsdecode(default_storage(os.environb))
