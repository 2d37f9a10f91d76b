"""``DIR/ch/owners``: the records of a directory image that ``ch-run --notify -w`` writes to.

The format is that of a layer's manifest, ``record.owners``.  One process at a time may write; it
holds a lock on the file.  ``ch-run``s that only read take none: the file is replaced as a whole.

Floor 0.
"""

import errno
import os
from fcntl import LOCK_EX, LOCK_NB

from sundog.container.paths import lexists
from sundog.emulation.notify.state.persist import PLAINLY, walk
from sundog.errors import KernelError, SundogError
from sundog.kernel.files import Closing
from sundog.kernel.libc import printable
from sundog.kernel.locks import open_locked
from sundog.kernel.mounts import RESOLVE_NO_XDEV, openat2
from sundog.record.directory import RECORDS, RECORDS_DIRECTORY, RECORDS_DRAFT
from sundog.record.owners import OwnersManifest, pack_owners, read_owners


class OwnRecords:
    """The records of the directory image ``path``, locked for this process and its children."""

    __slots__ = ("_before", "_directory", "_lock", "_path", "_tree")

    def __init__(self, path: bytes) -> None:
        """Lock and read them.  Raises SundogError if another process has."""
        self._path = path
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._tree = os.open(path, flags)
        try:
            if not lexists(RECORDS_DIRECTORY, self._tree):
                os.mkdir(RECORDS_DIRECTORY, dir_fd=self._tree)
            self._directory = os.open(RECORDS_DIRECTORY, flags | os.O_NOFOLLOW, dir_fd=self._tree)
            self._lock = self._locked()
        except OSError as error:
            raise SundogError(
                f"can't record owners in {printable(path)}/ch: {error.strerror}",
                "it has to be a directory that you may write to; -W needs none",
            ) from None
        self._before = read_owners(b"/proc/self/fd/%d" % self._lock)

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that it works with."""
        return self._tree, self._directory, self._lock

    def _locked(self) -> int:
        """Return a descriptor of the file, which is made if need be, with the lock on it."""
        while True:
            try:
                flags = os.O_RDWR | os.O_NOFOLLOW
                return open_locked(RECORDS, flags, LOCK_EX | LOCK_NB, self._directory)
            except FileNotFoundError:
                self._make()
            except BlockingIOError:
                raise SundogError(
                    f"another ch-run --notify -w writes to {printable(self._path)}, or an import "
                    "reads it",
                    "wait until it has ended; or use -W, which writes to a copy",
                ) from None

    def _make(self) -> None:
        """Make the file, without records, unless somebody is faster."""
        draft = b"%b.%d" % (RECORDS_DRAFT, os.getpid())
        self._write(draft, {})
        try:
            os.link(draft, RECORDS, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileExistsError:
            pass
        finally:
            os.unlink(draft, dir_fd=self._directory)

    def _write(self, name: bytes, manifest: OwnersManifest) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o644, dir_fd=self._directory), "wb") as file:
            file.write(pack_owners(manifest))
            file.flush()
            os.fsync(file.fileno())

    def save(self, manifest: OwnersManifest) -> None:
        """Replace the records by ``manifest``; called in the container.  Raises SundogError.

        What is recorded of files that mounts of the container hide stays.
        """
        try:
            hidden = {path: record for path, record in self._before.items() if is_hidden(path)}
            if hidden:
                paths = set(walk(self._tree))
                hidden = {path: record for path, record in hidden.items() if path in paths}
            after = {**manifest, **hidden}
            if after == self._before:
                return
            self._write(RECORDS_DRAFT, after)
            there = self._directory
            os.rename(RECORDS_DRAFT, RECORDS, src_dir_fd=there, dst_dir_fd=there)
        except OSError as error:
            raise SundogError(
                f"can't record owners in {printable(self._path)}/ch: {error.strerror}",
                "the owners are now as they were before this run",
            ) from None


def is_hidden(path: bytes) -> bool:
    """Tell whether a mount of the container hides ``path`` of its root."""
    with Closing(os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        try:
            flags = os.O_PATH | os.O_NOFOLLOW
            os.close(openat2(root, path or b".", flags, PLAINLY | RESOLVE_NO_XDEV))
        except KernelError as error:
            return error.errno == errno.EXDEV
    return False
