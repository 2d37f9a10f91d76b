"""Findings of ``ch-run`` about an image and the host's MPI, kept for the next start.

A record is a file in ``host-libraries/`` of a storage directory that only its owner can enter.  It
has a profile as values, or the ``findings`` about one image.  A record is one file, written under
another name and renamed, so a reader finds all of it or none.  There are at most
``_RECORDS_LIMIT``.
"""

from __future__ import annotations

import os
from binascii import crc32

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.wire.values import pack_value, unpack_value
from sundog.runtime.container.paths import lexists

_KEPT_DIRECTORY = b"host-libraries"
_RECORD_FORMAT = b"sundog host libraries 2"
_RECORDS_LIMIT = 64
_RECORD_LIMIT = 16 << 20  # bytes
_FILE_OF_STORAGE = b"version"  # every storage directory has it


class KeptValue:
    """A record in the open ``storage`` directory; -1 stands for none, and keeps nothing.

    ``key`` is all that the record holds for.
    """

    __slots__ = ("_key", "_name", "_storage")

    def __init__(self, storage: int, key: bytes) -> None:
        self._storage = storage if storage >= 0 and lexists(_FILE_OF_STORAGE, storage) else -1
        self._key = key
        self._name = _KEPT_DIRECTORY + b"/%08x%08x" % (crc32(key), crc32(key[::-1]))

    def read(self) -> object:
        """Return the value, None if there is no record that can be read."""
        if self._storage < 0:
            return None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with Closing(os.open(self._name, flags, dir_fd=self._storage)) as fd:
                status = os.fstat(fd)
                if status.st_mode & S_IFMT != S_IFREG or status.st_size > _RECORD_LIMIT:
                    return None
                with open(fd, "rb", closefd=False) as file:
                    record = unpack_value(file.read())
        except (OSError, ValueError):
            return None
        match record:
            case (bytes(form), bytes(key), value) if form == _RECORD_FORMAT and key == self._key:
                return value
        return None

    def write(self, value: object) -> None:
        """Keep the plain ``value``.  If it can't be written, the next start finds it out again."""
        if self._storage < 0:
            return
        draft = self._name + b".%d" % os.getpid()
        storage = self._storage
        try:
            if not lexists(_KEPT_DIRECTORY, storage):
                os.mkdir(_KEPT_DIRECTORY, 0o700, dir_fd=storage)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(draft, flags, 0o600, dir_fd=storage), "wb") as file:
                file.write(pack_value((_RECORD_FORMAT, self._key, value)))
            os.rename(draft, self._name, src_dir_fd=storage, dst_dir_fd=storage)
        except OSError:
            _forget(storage, draft)  # it is full or read-only, or another start made the directory
            return
        _forget_oldest(storage)


def _forget_oldest(storage: int) -> None:
    """Remove the oldest records, and what killed processes left, beyond ``_RECORDS_LIMIT``."""
    found = []
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with Closing(os.open(_KEPT_DIRECTORY, flags, dir_fd=storage)) as directory:
            with os.scandir(directory) as entries:
                for entry in entries:
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
            for _, name in sorted(found)[: max(0, len(found) - _RECORDS_LIMIT)]:
                os.unlink(name, dir_fd=directory)
    except OSError:
        return  # another start is doing the same


def _forget(storage: int, name: bytes) -> None:
    """Remove a file of the storage directory, if it is there."""
    try:
        os.unlink(name, dir_fd=storage)
    except OSError:
        return
