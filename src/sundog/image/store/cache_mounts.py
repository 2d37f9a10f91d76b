"""``cache-mounts/``: directories that ``RUN --mount=type=cache`` keeps from one build to the next.

    cache-mounts/NAME/lock     locked by the commands that use the directory; its time of
                               modification is that of the last use
    cache-mounts/NAME/tree/    the files
    cache-mounts/NAME/owners   the owners of the files that a supervisor recorded, see
                               ``record.owners``
    cache-mounts/NAME/id       the ID in the Dockerfile

Nothing refers to these directories: each can be removed whenever no command uses it.  Any number of
commands use a ``shared`` one at a time, and one command at a time a ``locked`` one.  ``private``
ones have several instances; each command gets one that no other command uses.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count

from sundog.base.kernel.drafts import replace_file
from sundog.base.record.layer_path import LayerPath
from sundog.base.record.owners import OwnerRecord, pack_owners
from sundog.base.record.stack import note_use
from sundog.image.store.layer_ids import layer_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.store.held_lock import HeldLock
    from sundog.image.store.storage import Storage

_DIRECTORY = b"cache-mounts"
_DEFAULT_MODE = 0o755
_FIRST = 0


@dataclass(frozen=True, slots=True)
class CacheRequest:
    """A cache mount that a RUN wants.

    ``id`` and ``origin`` name it.  ``origin`` is the digest of its first contents, and ``fill``
    puts these into a new directory.  ``mode`` and ``owner`` are those of a new directory.
    """

    id: str
    sharing: str
    mode: int | None = None
    owner: tuple[int, int] = (0, 0)
    origin: str = ""
    fill: Callable[[bytes], None] | None = None

    @property
    def name(self) -> str:
        """The name of the directory, without the number of the instance."""
        return layer_id("cache mount", self.id, self.origin)


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A cache mount in use: its files, and where their owners are recorded."""

    path: LayerPath

    def record(self, manifest: OwnersManifest) -> None:
        """Replace the recorded owners by ``manifest``.

        If two commands share the directory, the later call counts.
        """
        replace_file(self.path.owners, pack_owners(manifest))


class CacheMounts:
    """The cache mounts of one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @contextmanager
    def use(
        self, requests: Sequence[CacheRequest], waiting: Callable[[str], None]
    ) -> Iterator[list[CacheMount]]:
        """Make and lock the directories for ``requests``; they are locked until the context ends.

        Before it waits for another command to end its use, calls ``waiting`` with the ID.
        """
        strictest: dict[str, CacheRequest] = {}
        for request in requests:
            held = strictest.setdefault(request.name, request)
            if _SHARING.index(request.sharing) > _SHARING.index(held.sharing):
                strictest[request.name] = request
        with ExitStack() as locks:
            places = {}
            # All commands lock in this order, so that no two commands wait for each other.
            for name, request in sorted(strictest.items()):
                lock, places[name] = self._take(request, waiting)
                locks.enter_context(lock)
            yield [CacheMount(LayerPath.of(places[request.name])) for request in requests]

    def names(self) -> list[bytes]:
        """Return the paths of all cache mounts."""
        with suppress(FileNotFoundError):
            return [self._storage.at(_DIRECTORY, name) for name in os.listdir(self._root)]
        return []

    def clear(self) -> int:
        """Remove the cache mounts that no command uses; return their number."""
        return self.remove(*self.names())

    def remove(self, *paths: bytes) -> int:
        """Remove those of the cache mounts ``paths`` that no command uses; return their number."""
        removed = []
        with self._storage.faults:
            for path in paths:
                lock = os.path.join(path, b"lock")
                with (
                    suppress(FileNotFoundError, BlockingIOError),
                    self._storage.locks.open(lock, fcntl.LOCK_EX | fcntl.LOCK_NB),
                ):
                    removed.append(self._storage.scratch.aside(path))
            self._storage.scratch.dispose(*removed)
        return len(removed)

    @property
    def _root(self) -> bytes:
        return self._storage.at(_DIRECTORY)

    def _take(
        self, request: CacheRequest, waiting: Callable[[str], None]
    ) -> tuple[HeldLock, bytes]:
        """Lock a directory for ``request``; return the lock, and the path."""
        for number in count(_FIRST):
            path = os.path.join(self._root, b"%b-%d" % (request.name.encode(), number))
            mode = fcntl.LOCK_SH if request.sharing == "shared" else fcntl.LOCK_EX
            lock = self._locked(path, request, mode | fcntl.LOCK_NB)
            if lock is None and request.sharing != "private":
                waiting(request.id)
                lock = self._locked(path, request, mode)
            if lock is not None:
                note_use(lock.fd, os.fstat(lock.fd))
                return lock, path
        raise AssertionError

    def _locked(self, path: bytes, request: CacheRequest, operation: int) -> HeldLock | None:
        """Lock the directory ``path``, and make it if need be; None when other commands use it."""
        is_here = False
        while True:
            try:
                return self._storage.locks.open(
                    os.path.join(path, b"lock"), operation, create=is_here
                )
            except BlockingIOError:
                return None
            except FileNotFoundError:
                # A program that cleans /var/tmp may delete the lock and leave the directory.
                is_here = not self._make(path, request)

    def _make(self, path: bytes, request: CacheRequest) -> bool:
        """Put a new directory at ``path``; return False if there is one already."""
        storage = self._storage
        with storage.faults:
            draft = storage.scratch.new()
            place = LayerPath.of(draft)
            os.mkdir(place.tree, 0o700)
            if request.fill is not None:
                request.fill(place.tree)
            if request.fill is None or request.mode is not None:
                os.chmod(place.tree, _DEFAULT_MODE if request.mode is None else request.mode)
            owners = {b"": OwnerRecord("d", *request.owner)} if any(request.owner) else {}
            for name, data in (
                (os.path.join(draft, b"lock"), b""),
                (place.owners, pack_owners(owners)),
                (os.path.join(draft, b"id"), os.fsencode(request.id)),
            ):
                with open(name, "xb") as file:
                    file.write(data)
            os.makedirs(self._root, 0o700, exist_ok=True)
            storage.device.sync()
            return storage.place(draft, path)


# Each one lets in fewer other commands than the one before it.
_SHARING = ("shared", "locked", "private")
