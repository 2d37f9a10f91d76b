"""``DIR/ch/owners``: the records of a directory image; ``ch-run --notify -w`` writes them.

The file has the format of a layer's manifest, ``record.owners``.  Only one process at a time may
write.  The writer holds a lock on the file, and replaces the file as a whole, so readers need no
lock.
"""

from __future__ import annotations

import errno
import os
from fcntl import LOCK_EX, LOCK_NB

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.locks import open_locked
from sundog.base.kernel.mounts import RESOLVE_NO_XDEV, openat2
from sundog.base.record.directory import RECORDS, RECORDS_DIRECTORY, RECORDS_DRAFT
from sundog.base.record.kept import CONTAINER_EXIT, CONTAINER_OWNERS, CONTAINER_OWNERS_DRAFT
from sundog.base.record.owners import OwnersManifest, pack_owners, read_owners
from sundog.errors import KernelError, StoreError, SundogError
from sundog.runtime.container.paths import lexists
from sundog.runtime.emulation.notify.state.files import PLAINLY
from sundog.runtime.emulation.notify.state.persist import walk


class OwnRecords:
    """The records of the directory image ``path``, which this process and its children lock.

    They are in the directory ``ch`` of the image, or in another one, an open ``directory``.

    before  what they were at first
    tree    a descriptor of the directory, from which ".." leads nowhere
    """

    ended = -1

    __slots__ = ("_directory", "_lock", "_path", "_shown", "before", "tree")

    def __init__(self, path: bytes, tree: int, directory: int = -1) -> None:
        """Lock and read the records.  Raises SundogError if another process has the lock.

        ``tree`` is as the attribute.
        """
        self._path = path
        self._shown = printable(path) + ("/ch" if directory < 0 else "")
        self._directory = directory
        self.tree = tree
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            if directory < 0:
                if not lexists(RECORDS_DIRECTORY, self.tree):
                    os.mkdir(RECORDS_DIRECTORY, dir_fd=self.tree)
                flags |= os.O_NOFOLLOW
                self._directory = os.open(RECORDS_DIRECTORY, flags, dir_fd=self.tree)
            self._lock = self._locked()
        except OSError as error:
            raise SundogError(
                f"can't record owners in {self._shown}: {error.strerror}",
                "make it a directory that you may write to; or use ch-run -W, which needs none",
            ) from None
        try:
            self.before = read_owners(b"/proc/self/fd/%d" % self._lock)
        except StoreError as error:
            raise SundogError(
                f"damaged records of owners: {self._shown}/owners: {error.__cause__}",
                "remove that file; then all files belong to root",
            ) from None

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that ``save`` needs."""
        return self.tree, self._directory, self._lock

    def _locked(self) -> int:
        """Lock the file, make it if it is missing, and return its descriptor."""
        while True:
            try:
                flags = os.O_RDWR | os.O_NOFOLLOW
                return open_locked(RECORDS, flags, LOCK_EX | LOCK_NB, self._directory)
            except FileNotFoundError:
                self._make()
            except BlockingIOError:
                raise SundogError(
                    f"another container writes to {printable(self._path)}, or an import reads it",
                    "wait until it has ended; or use ch-run -W, which writes to a copy",
                ) from None

    def _make(self) -> None:
        """Make the file, without records, unless another process is faster."""
        draft = b"%b.%d" % (RECORDS_DRAFT, os.getpid())
        self._write(draft, {})
        try:
            os.link(draft, RECORDS, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileExistsError:
            pass
        finally:
            os.unlink(draft, dir_fd=self._directory)

    def _write(self, name: bytes, manifest: OwnersManifest) -> None:
        _write_records(name, manifest, self._directory)

    def save(self, manifest: OwnersManifest) -> None:
        """Replace the records by ``manifest``.  Raises SundogError.

        Call it in the container.  It keeps the old records of files that the container's mounts
        hide.
        """
        try:
            hidden = {path: record for path, record in self.before.items() if _is_hidden(path)}
            if hidden:
                paths = set(walk(self.tree))
                hidden = {path: record for path, record in hidden.items() if path in paths}
            after = {**manifest, **hidden}
            if after == self.before:
                return
            self._write(RECORDS_DRAFT, after)
            there = self._directory
            os.rename(RECORDS_DRAFT, RECORDS, src_dir_fd=there, dst_dir_fd=there)
        except OSError as error:
            raise SundogError(
                f"can't record owners in {self._shown}: {error.strerror}",
                "the file has the owners from before this run",
            ) from None


class ContainerRecords:
    """The records of the changes of a container that is kept, in the ``directory`` of it.

    ended    a descriptor of the file that gets the exit status
    """

    __slots__ = ("_directory", "ended")

    def __init__(self, directory: bytes) -> None:
        """Open the directory.  Raises OSError."""
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self.ended = os.open(CONTAINER_EXIT, flags, 0o600, dir_fd=self._directory)

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that ``save`` needs."""
        return (self._directory,)

    def save(self, manifest: OwnersManifest) -> None:
        """Write the records.  Raises SundogError."""
        there = self._directory
        try:
            _write_records(CONTAINER_OWNERS_DRAFT, manifest, there)
            os.rename(CONTAINER_OWNERS_DRAFT, CONTAINER_OWNERS, src_dir_fd=there, dst_dir_fd=there)
        except OSError as error:
            raise SundogError(f"can't record the owners of changes: {error.strerror}") from None


def _write_records(name: bytes, manifest: OwnersManifest, directory: int) -> None:
    """Write a new file; what a container has left in its place may be a FIFO or a hard link."""
    if lexists(name, directory):
        os.unlink(name, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(name, flags, 0o644, dir_fd=directory), "wb") as file:
        file.write(pack_owners(manifest))
        file.flush()
        os.fsync(file.fileno())


def _is_hidden(path: bytes) -> bool:
    """Tell whether a mount of the container hides the file ``path`` of the image."""
    with Closing(os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        try:
            flags = os.O_PATH | os.O_NOFOLLOW
            os.close(openat2(root, path or b".", flags, PLAINLY | RESOLVE_NO_XDEV))
        except KernelError as error:
            return error.errno == errno.EXDEV
    return False
