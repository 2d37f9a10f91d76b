"""Load and save a state file (``record.inode_state``); it is replaced as a whole."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing, write_all
from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.record.inode_state import pack_inode_state, unpack_inode_state
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sundog.base.record.inode_state import InodeEntry, InodeKey
    from sundog.runtime.launcher.messages import Messages

_STATE_LIMIT = 1 << 30  # bytes; a file with ten million entries is smaller
_NEW_STATE_MODE = 0o666
_KEPT_MODE = 0o777  # the permissions of an older file


def load_state(path: bytes, messages: Messages) -> dict[InodeKey, InodeEntry]:
    """Return the entries of the state file ``path``; none, with a warning, if it is missing.

    fakeroot(1) goes on without the file, too: the first of many runs names a file that only its
    end makes.  Raises SundogError if the file can't be used.
    """
    shown = printable(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_STATE_LIMIT + 1)
    except FileNotFoundError:
        messages.warning(f"no such state file, so nothing is recorded yet: {shown}")
        return {}
    except OSError as error:
        raise SundogError(f"can't read the state file {shown}: {error.strerror}") from None
    try:
        if len(data) > _STATE_LIMIT:
            raise ValueError("it is larger than 1 GiB")
        return unpack_inode_state(data)
    except ValueError as error:
        raise SundogError(
            f"damaged state file: {shown}: {error}",
            "it must come from sundog-fakeroot or fakeroot; leave it out, or remove it",
        ) from None


class StateFile:
    """The state file ``path`` that gets what ``entries`` returns.

    The file's directory is open from the start, so ``path`` may be relative to a directory that the
    command leaves or replaces.  A device or a pipe is open itself.
    """

    ended = -1  # no file gets the exit status of the command

    __slots__ = ("_directory", "_entries", "_mode", "_name", "_path", "_stream")

    def __init__(
        self, path: bytes, entries: Callable[[], Iterable[tuple[InodeKey, InodeEntry]]]
    ) -> None:
        """Open the directory.  Raises SundogError if the file can't be made there."""
        self._path = path
        self._entries = entries
        self._directory = self._stream = -1
        self._name = b""
        try:
            mode = _present_mode(path)
            self._mode = mode & _KEPT_MODE
            if mode & S_IFMT != S_IFREG:
                self._stream = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                return
            directory, self._name = os.path.split(os.path.realpath(path))
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._directory = os.open(directory, flags)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise SundogError(
                f"can't save the state in {printable(self._path)}: {error.strerror}",
                "name a file in a directory that you may write to",
            ) from None

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that ``save`` needs."""
        return (self._directory if self._stream < 0 else self._stream,)

    def save(self, _owners: object) -> None:
        """Replace the file.  Raises SundogError; then the file is as it was before."""
        data = pack_inode_state(self._entries())
        try:
            if self._stream >= 0:
                write_all(self._stream, data)
                return
            draft = b".sundog-" + os.urandom(8).hex().encode()
            try:
                self._write(draft, data)
                there = self._directory
                os.rename(draft, self._name, src_dir_fd=there, dst_dir_fd=there)
            except OSError:
                self._forget(draft)
                raise
        except OSError as error:
            raise SundogError(
                f"can't save the state in {printable(self._path)}: {error.strerror}",
                "owners and devices of this run are lost; an older file there is unchanged",
            ) from None

    def _write(self, name: bytes, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with Closing(os.open(name, flags, 0o600, dir_fd=self._directory)) as fd:
            write_all(fd, data)
            os.fchmod(fd, self._mode)
            os.fsync(fd)

    def _forget(self, draft: bytes) -> None:
        try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
            os.unlink(draft, dir_fd=self._directory)
        except OSError:
            pass


def _present_mode(path: bytes) -> int:
    """Return the mode of the file ``path``, or of a new one.  Raises OSError."""
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return S_IFREG | _NEW_STATE_MODE & ~mask
