"""The parts of a file or directory that COPY copies, and their digest.

COPY copies names, types, modes, contents, symlinks' targets, hard links and extended attributes; of
a directory as a source, it copies the entries.  It copies neither times nor owners.  For a file
with large holes, the digest covers the data and the places of the data.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from dataclasses import dataclass, field

from sundog.base.kernel.libc import printable
from sundog.errors import BuildError
from sundog.image.builder.keys import NOTED, Contents
from sundog.image.layer.holes import SECTOR, data_extents
from sundog.image.layer.names import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


# Do not wait for the writer of a FIFO; this has no effect on files and directories.
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_SIZE = 1 << 20
# Errors of a name whose type changed a moment ago.
_SWAPPED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO)
_DEPTH_LIMIT = 256  # directories
_SHOWN = 200  # bytes of a path in a message
_LARGE_HOLES = 1 << 30  # bytes of holes in a file; with fewer, they are read as zeros


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries to take of a directory: for each directory by path, its names in order.

    ``implied`` are directories that COPY takes only because of their contents.
    """

    names: dict[bytes, list[bytes]] = field(default_factory=dict)
    implied: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or directory to copy: its path in the tree, and the name of its copy.

    ``listing`` says which entries of a directory to take; None: all.
    """

    path: bytes
    name: bytes
    listing: Listing | None = field(default=None, compare=False)


# The directories above one, by device and inode, if symlinks below are followed; else None.
Above = tuple[tuple[int, int], ...] | None


def below(above: Above, directory: int, path: bytes) -> Above:
    """Return what is above the entries of ``directory``; raise BuildError for a circle of links."""
    if above is None:
        return None
    info = os.fstat(directory)
    identity = info.st_dev, info.st_ino
    if identity in above:
        raise BuildError(f"can't copy: a symlink leads to a directory above it: {printable(path)}")
    return (*above, identity)


class ContentDigest:
    """The digest of some sources, in their order; with ``follows``, symlinks are their targets."""

    def __init__(self, *, follows: bool = False) -> None:
        self._state = hashlib.sha256()
        self._above: Above = () if follows else None
        self._links: dict[tuple[int, int], bytes] = {}
        self._files: dict[bytes, int] = {}
        self._is_whole = True

    def add(self, fd: int, source: Source) -> None:
        """Add a source that is open as ``fd``; raise BuildError if it can't be read."""
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            self._state.update(b"tree\0")
            entries = _digest_directory(fd, b"", self._links, source.listing, self._above)
        elif stat.S_ISREG(info.st_mode):
            entries = iter([(b"", _digest_file(fd, source.name, info, self._links))])
        else:
            raise unknown_type(source.path)
        for path, entry in entries:
            self._state.update(entry)
            if len(self._files) < NOTED:
                shown = joined(source.path, path) if path else source.path
                self._files[shown] = zlib.crc32(entry)
            else:
                self._is_whole = False

    def value(self) -> Contents:
        """Return the digest in hexadecimal digits, and the checksums."""
        return Contents(self._state.hexdigest(), self._files, self._is_whole)


def copied_attributes(fd: int) -> list[tuple[str, bytes]]:
    """Return the extended attributes that COPY copies from a file or directory."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise
    if not names:
        return []
    return [(name, os.getxattr(fd, name)) for name in sorted(names) if _is_copied(name)]


def _is_copied(attribute: str) -> bool:
    if attribute.startswith("user."):
        return not attribute.startswith("user.overlay.")
    return attribute == "security.capability"


def names_in(fd: int, path: bytes, listing: Listing | None) -> list[bytes]:
    """Return the names to take of the directory ``fd``, which is ``path`` in its source."""
    if listing is not None:
        if path not in listing.names:  # it was not a directory then
            raise changed(path)
        return listing.names[path]
    return sorted(map(os.fsencode, os.listdir(fd)))


def check_depth(path: bytes) -> None:
    """Raise BuildError for a directory that is too deep in a source for Python's stack."""
    if path.count(b"/") >= _DEPTH_LIMIT:
        raise BuildError(
            f"can't copy: more than {_DEPTH_LIMIT} nested directories: "
            f"{printable(path[:_SHOWN])}..."
        )


def unknown_type(path: bytes) -> BuildError:
    """Return the error about a source of an unknown type."""
    return BuildError(
        f"can't copy: unknown file type: {printable(path)}",
        "only files, directories, symlinks and FIFOs can be copied",
    )


def changed(path: bytes) -> BuildError:
    """Return the error about a source that changed while it was read."""
    return BuildError(
        f"can't copy: it changed while it was read: {printable(path)}",
        "build again when no program changes the context",
    )


def unreadable(path: bytes) -> BuildError:
    """Return the error about a source that this user may not read."""
    return BuildError(
        f"can't copy: permission denied: {printable(path)}",
        "make it readable, or exclude it from the context",
    )


def lstat_in(fd: int, name: bytes, path: bytes, *, follows: bool = False) -> os.stat_result:
    """Return the lstat(2) result of ``name`` in the directory ``fd``; with ``follows``, stat(2).

    Raises BuildError, with the ``path``, if the directory may be listed but not searched, or if the
    entry is gone.
    """
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=follows)
    except OSError as error:
        raise _refused(path, error, follows=follows) from error


def open_in(fd: int, name: bytes, path: bytes, flags: int = 0, *, follows: bool = False) -> int:
    """Open ``name`` in the directory ``fd`` for reading; raise as ``lstat_in``.

    It must be no symlink, unless ``follows``.
    """
    try:
        return os.open(name, READ_FLAGS | flags | (0 if follows else os.O_NOFOLLOW), dir_fd=fd)
    except OSError as error:
        raise _refused(path, error, follows=follows) from error


def readlink_in(fd: int, name: bytes, path: bytes) -> bytes:
    """Return the target of the symlink ``name`` in the directory ``fd``; raise as ``lstat_in``."""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError as error:
        raise (changed(path) if error.errno == errno.EINVAL else _refused(path, error)) from error


def _refused(path: bytes, error: OSError, *, follows: bool = False) -> BuildError | OSError:
    """Return the error to raise if a listed entry can't be read."""
    if follows and error.errno in (errno.ENOENT, errno.ELOOP):
        return BuildError(f"can't copy: a symlink leads nowhere: {printable(path)}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return unreadable(path)
    return changed(path) if error.errno in _SWAPPED else error


def _digest_directory(
    fd: int, path: bytes, links: dict[tuple[int, int], bytes], listing: Listing | None, above: Above
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the path of each entry, and what its copy depends on."""
    above, follows = below(above, fd, path), above is not None
    prefix = path + b"/" if path else b""
    for name, known in _kinds_in(fd, path, listing, follows=follows):
        entry = prefix + name
        mode = known or lstat_in(fd, name, entry, follows=follows).st_mode
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFLNK:
            yield entry, _head(b"l", entry, 0) + _sized(readlink_in(fd, name, entry))
        elif kind in (stat.S_IFREG, stat.S_IFDIR):
            check_depth(entry)
            inner = open_in(fd, name, entry, follows=follows)
            try:
                info = os.fstat(inner)
                if stat.S_IFMT(info.st_mode) != kind:
                    raise changed(entry)
                if kind == stat.S_IFREG:
                    yield entry, _digest_file(inner, entry, info, links)
                else:
                    yield entry, _head(b"d", entry, info.st_mode) + _attributes(inner)
                    yield from _digest_directory(inner, entry, links, listing, above)
            finally:
                os.close(inner)
        elif kind == stat.S_IFIFO:
            yield entry, _head(b"p", entry, mode)


def _kinds_in(
    fd: int, path: bytes, listing: Listing | None, *, follows: bool
) -> list[tuple[bytes, int]]:
    """Return the names as ``names_in`` does, with the type of each where the directory has it.

    It is one of S_IFREG, S_IFDIR and S_IFLNK, else 0.  That saves an lstat(2) for each file.
    """
    if listing is not None or follows:
        return [(name, 0) for name in names_in(fd, path, listing)]
    with os.scandir(fd) as entries:
        return sorted((os.fsencode(entry.name), _kind(entry)) for entry in entries)


def _kind(entry: os.DirEntry[str]) -> int:
    try:
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
        if entry.is_dir(follow_symlinks=False):
            return stat.S_IFDIR
    except OSError:  # from lstat(2), where the directory does not have the type
        return 0
    return stat.S_IFLNK if entry.is_symlink() else 0


def _digest_file(
    fd: int, path: bytes, info: os.stat_result, links: dict[tuple[int, int], bytes]
) -> bytes:
    """Return what the copy of a file depends on."""
    if info.st_nlink > 1:
        first = links.setdefault((info.st_dev, info.st_ino), path)
        if first != path:
            return _head(b"h", path, 0) + _sized(first)
    content = hashlib.sha256()
    if info.st_size - info.st_blocks * SECTOR > _LARGE_HOLES:
        content.update(b"holes of %d\0" % info.st_size)
        for start, length in data_extents(fd):
            content.update(b"%d %d\0" % (start, length))
            _digest_data(fd, content, start, min(start + length, info.st_size))
    else:
        _digest_data(fd, content, 0, info.st_size)  # reading a file that grows might not end
    return _head(b"f", path, info.st_mode) + content.digest() + _attributes(fd)


def _digest_data(fd: int, content: hashlib._Hash, start: int, end: int) -> None:
    while start < end and (data := os.pread(fd, min(end - start, _READ_SIZE), start)):
        content.update(data)
        start += len(data)


def _head(kind: bytes, path: bytes, mode: int) -> bytes:
    return b"%b%o %d:%b" % (kind, mode & 0o7777, len(path), path)


def _attributes(fd: int) -> bytes:
    attributes = copied_attributes(fd)
    if not attributes:
        return b"x0:"
    pairs = [_sized(name.encode()) + _sized(value) for name, value in attributes]
    return b"x%d:%b" % (len(pairs), b"".join(pairs))


def _sized(data: bytes) -> bytes:
    return b"%d:%b" % (len(data), data)
