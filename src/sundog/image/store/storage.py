"""A storage directory, as its managers share it: path, locks, scratch space and tree worker.

``Store`` makes one ``Storage`` and hands it to each manager (``Layers``, ``Images``, ``Blobs`` …).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cached_property

from sundog.base.kernel.drafts import write_new_file
from sundog.base.kernel.files import sync_path
from sundog.base.kernel.living_process import boot_id
from sundog.base.kernel.sharing import is_shared
from sundog.base.record.location import RUN_DIRECTORY
from sundog.base.record.own_storage import FORMAT, read_version
from sundog.image.layer.remove import remove_tree
from sundog.image.store.device import Device
from sundog.image.store.directory import USE_LOCK
from sundog.image.store.faults import StorageFaults
from sundog.image.store.garbage import Garbage
from sundog.image.store.locks import TurnLock, UseLock, locks_of
from sundog.image.store.mounted import forget_runs
from sundog.image.store.scratch import Scratch
from sundog.image.store.unreferenced import Unreferenced
from sundog.image.store.worker import TreeWorker
from sundog.runtime.state.place import forgotten_boots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_BOOT_LENGTH = 16  # with the rest, short enough for a symlink that lies in its inode


class Storage:
    """The storage directory ``path``, which ``open_directory`` has checked or made."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.faults = StorageFaults(path)
        self.worker = TreeWorker()
        self.locks = locks_of(path)
        self.scratch = Scratch(path, self.locks)
        self.device = Device(path)
        self.unreferenced = Unreferenced()
        self.use_lock = UseLock(self.locks, self.at(USE_LOCK))
        self.garbage = Garbage(path)

    @cached_property
    def notes_users(self) -> bool:
        """Tell whether every command that writes here notes the users of layers: ``users``."""
        return read_version(self.path) == FORMAT

    @cached_property
    def session(self) -> str:
        """Return a word for this mount of the file system in this boot.

        It is "" where a layer may not lag: other nodes, or Sundog 1.0, may use the storage.
        """
        status = os.stat(self.path)
        if not self.notes_users or is_shared(self.path, status):
            return ""
        boot = boot_id().replace("-", "")[:_BOOT_LENGTH]
        return f"{boot}-{status.st_dev:x}" if boot else ""

    def at(self, *names: bytes) -> bytes:
        """Return the path of something in the storage directory."""
        return b"/".join((self.path, *names))

    def leave_to_parent(self) -> None:
        """Continue in a process that was forked: with locks, scratch space and worker of its own.

        What its parent has is none of its business.
        """
        self.worker.leave_to_parent()
        self.scratch.leave_to_parent()
        self.locks.leave_to_parent()
        self.use_lock.leave_to_parent()
        self.unreferenced.forget()

    def hold(self) -> None:
        """Keep every layer that is here now until ``use_lock`` is released."""
        self.use_lock.share()

    def turn(self, name: str) -> TurnLock:
        """Return the lock that commands take, one by one, to do what ``name`` says."""
        return TurnLock(self.locks, self.at(b"locks"), name)

    def expect_garbage(self) -> None:
        """Note that anything may be about to become useless.  Call this before it does.

        The note is on disk: if this process is killed, the next command collects the garbage.
        """
        self.garbage.expect()

    def write_file(self, path: bytes, data: bytes) -> None:
        """Write a small file as a whole, in place of one that is there.

        The name is on the device once ``device`` has settled.
        """
        draft = self.scratch.name()
        write_new_file(draft, data)
        sync_path(draft)
        self.device.rename(draft, path)

    def place(
        self, draft: bytes, target: bytes, rename: Callable[[bytes, bytes], None] = os.rename
    ) -> bool:
        """Rename the directory ``draft``, which is on the device, to ``target``.

        If another process has put a directory there first, delete the draft and return False.  The
        name is on the device once ``device`` has settled.
        """
        try:
            rename(draft, target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            self.scratch.dispose(draft)
            return False
        self.device.changed(os.path.dirname(target))
        return True

    def set_aside(self, paths: Iterable[bytes]) -> list[bytes]:
        """Move layers, trees and the like into the trash; return their new paths.

        A path that is gone is skipped.  The moves are on the device when this returns.
        """
        self.locks.confirm()
        places = []
        for path in paths:
            with suppress(FileNotFoundError):
                places.append(self.scratch.aside(path))
                self.device.changed(os.path.dirname(path))
        self.device.settle()
        return places

    def collect_leftovers(self) -> bool:
        """Delete what killed commands left in ``tmp/``, trash that is no longer mounted, and state.

        The state is that of containers of boots that are long over.  Return whether a command was
        killed that may have changed images.
        """
        forget_runs(self.path)
        for place in forgotten_boots(os.path.join(self.path, RUN_DIRECTORY)):
            with suppress(OSError):
                remove_tree(place)
        return self.scratch.collect(self.expect_garbage)
