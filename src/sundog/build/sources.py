"""What COPY copies: a directory tree, and the sources in it that a pattern names.

Specification: the Dockerfile reference, COPY: patterns are Go's filepath.Match, and a symlink that
is itself a source is followed, within the tree.  In a build context a path that leads out is
refused; in an image, paths are resolved as a process with that root would.  All paths are bytes,
relative to the tree; nothing here depends on where the tree lies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from sundog.dockerfile.wildcard import PatternError, compiled, has_wildcard, without_escapes
from sundog.errors import BuildError, KernelError
from sundog.kernel.libc import printable
from sundog.kernel.mounts import RESOLVE_BENEATH, RESOLVE_IN_ROOT, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Sequence

_READ_SIZE = 1 << 20
# Not to wait for the writer of a FIFO; of no effect on files and directories.
_READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Source:
    """A file or directory to copy: its path in the tree, and the name that it goes by."""

    path: bytes
    name: bytes


class SourceTree:
    """The directory open as ``fd``, and how paths are resolved in it (RESOLVE_*)."""

    def __init__(self, fd: int, resolve: int) -> None:
        self._fd = fd
        self._resolve = resolve

    @classmethod
    def of_context(cls, fd: int) -> SourceTree:
        """Return the tree of a build context: nothing leads out of it."""
        return cls(fd, RESOLVE_BENEATH)

    @classmethod
    def of_image(cls, fd: int) -> SourceTree:
        """Return the tree of an image: its root is the root of every path."""
        return cls(fd, RESOLVE_IN_ROOT)

    def open(self, path: bytes, flags: int = _READ_FLAGS) -> int:
        """Open what is at ``path``, symlinks followed; raise BuildError where it leads out."""
        try:
            return openat2(self._fd, path or b".", flags, self._resolve)
        except KernelError as error:
            if error.errno == errno.EXDEV:
                return openat2(self._fd, self._real_path(path), flags, self._resolve)
            if error.errno == errno.ENXIO:
                raise unknown_type(path) from error
            if error.errno == errno.EACCES:
                raise _unreadable(path) from error
            raise

    def _real_path(self, path: bytes) -> bytes:
        """Return the path that an absolute symlink back into the context leads to."""
        root = os.readlink(b"/proc/self/fd/%d" % self._fd)
        real = os.path.realpath(root + b"/" + path)
        if not real.startswith(root + b"/"):
            raise _outside(path)
        return real[len(root) + 1 :]

    def find(self, patterns: Iterable[str]) -> list[Source]:
        """Return what ``patterns`` name, in their order, and sorted below one pattern.

        Raises BuildError for a name that is not there, or when no pattern matches anything.
        """
        found: list[Source] = []
        for pattern in patterns:
            found += self._matches(pattern)
        if not found:
            raise BuildError(
                f"source not found: {' '.join(patterns)}", "no file matches the pattern"
            )
        return found

    def _matches(self, pattern: str) -> list[Source]:
        components = _clean(pattern, clamp=self._resolve == RESOLVE_IN_ROOT)
        paths = [b""]
        for component in components:
            if has_wildcard(component):
                expression = _compiled(component)
                paths = [
                    os.path.join(path, name)
                    for path in paths
                    for name in self._names(path)
                    if expression.fullmatch(name.decode("utf-8", "surrogateescape"))
                ]
            else:
                name = without_escapes(component).encode("utf-8", "surrogateescape")
                paths = [os.path.join(path, name) for path in paths]
        is_pattern = any(map(has_wildcard, components))
        return [
            Source(path, os.path.basename(path))
            for path in paths
            if self._exists(path, pattern, may_be_missing=is_pattern)
        ]

    def _names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, none if it is something else."""
        try:
            fd = self.open(path, _READ_FLAGS | os.O_DIRECTORY)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return []
            raise
        try:
            return [os.fsencode(name) for name in sorted(os.listdir(fd))]
        finally:
            os.close(fd)

    def _exists(self, path: bytes, pattern: str, *, may_be_missing: bool) -> bool:
        try:
            os.close(self.open(path, os.O_PATH))
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            if may_be_missing:
                return False
            raise BuildError(
                f"source not found: {pattern}", "sources are relative to the context directory"
            ) from error
        return True

    def digest(self, sources: Sequence[Source]) -> str:
        """Return a digest of all that COPY takes over from ``sources``.

        That is names, types, modes, contents, symlinks' targets, hard links and extended
        attributes; of a source that is a directory, what is in it.  Times and owners are not.
        """
        state = hashlib.sha256()
        links: dict[tuple[int, int], bytes] = {}
        for source in sources:
            fd = self.open(source.path)
            try:
                info = os.fstat(fd)
                if stat.S_ISDIR(info.st_mode):
                    state.update(b"tree\0")
                    entries = _digest_directory(fd, b"", links)
                elif stat.S_ISREG(info.st_mode):
                    entries = _digest_file(fd, source.name, info, links)
                else:
                    raise unknown_type(source.path)
                for entry in entries:
                    state.update(entry)
            finally:
                os.close(fd)
        return state.hexdigest()


def copied_attributes(fd: int) -> list[tuple[str, bytes]]:
    """Return the extended attributes of a file or directory that COPY takes over."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise
    return [(name, os.getxattr(fd, name)) for name in sorted(names) if _is_copied(name)]


def _is_copied(attribute: str) -> bool:
    if attribute.startswith("user."):
        return not attribute.startswith("user.overlay.")
    return attribute == "security.capability"


def _digest_directory(fd: int, path: bytes, links: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    for name in sorted(map(os.fsencode, os.listdir(fd))):
        info = os.lstat(name, dir_fd=fd)
        entry = os.path.join(path, name)
        if stat.S_ISLNK(info.st_mode):
            yield _head(b"l", entry, 0)
            yield _sized(os.readlink(name, dir_fd=fd))
        elif stat.S_ISDIR(info.st_mode) or stat.S_ISREG(info.st_mode):
            try:
                inner = os.open(name, _READ_FLAGS | os.O_NOFOLLOW, dir_fd=fd)
            except PermissionError as error:
                raise _unreadable(entry) from error
            try:
                if stat.S_ISREG(info.st_mode):
                    yield from _digest_file(inner, entry, info, links)
                else:
                    yield _head(b"d", entry, info.st_mode)
                    yield _attributes(inner)
                    yield from _digest_directory(inner, entry, links)
            finally:
                os.close(inner)
        elif stat.S_ISFIFO(info.st_mode):
            yield _head(b"p", entry, info.st_mode)


def _digest_file(
    fd: int, path: bytes, info: os.stat_result, links: dict[tuple[int, int], bytes]
) -> Iterator[bytes]:
    if info.st_nlink > 1:
        first = links.setdefault((info.st_dev, info.st_ino), path)
        if first != path:
            yield _head(b"h", path, 0)
            yield _sized(first)
            return
    content = hashlib.sha256()
    while data := os.read(fd, _READ_SIZE):
        content.update(data)
    yield _head(b"f", path, info.st_mode)
    yield content.digest()
    yield _attributes(fd)


def _head(kind: bytes, path: bytes, mode: int) -> bytes:
    return b"%b%o %b" % (kind, stat.S_IMODE(mode), _sized(path))


def _attributes(fd: int) -> bytes:
    attributes = copied_attributes(fd)
    pairs = [_sized(name.encode()) + _sized(value) for name, value in attributes]
    return b"x%d:%b" % (len(pairs), b"".join(pairs))


def _sized(data: bytes) -> bytes:
    return b"%d:%b" % (len(data), data)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return compiled(pattern)
    except PatternError as error:
        raise BuildError(str(error), "put a backslash before a literal [ or ]") from error


def _clean(pattern: str, *, clamp: bool) -> list[str]:
    """Split a pattern into components, ``..`` resolved.

    Where it leads out of the tree, it stays at the root if ``clamp``, else BuildError is raised.
    """
    components: list[str] = []
    for component in pattern.split("/"):
        if component == "..":
            if components:
                components.pop()
            elif not clamp:
                raise _outside(pattern.encode("utf-8", "surrogateescape"))
        elif component not in ("", "."):
            components.append(component)
    return components


def unknown_type(path: bytes) -> BuildError:
    """Return the error about a source that is neither file nor directory."""
    return BuildError(
        f"can't copy: unknown file type: {printable(path)}",
        "files, directories, symlinks and FIFOs can be copied",
    )


def _unreadable(path: bytes) -> BuildError:
    return BuildError(
        f"can't copy: permission denied: {printable(path)}",
        "make it readable, or keep it out of the context",
    )


def _outside(path: bytes) -> BuildError:
    return BuildError(
        f"can't copy from outside the context: {printable(path)}",
        "copy the file into the context directory, or use a directory above as the context",
    )
