"""The files that COPY copies: a directory tree, and the sources in it that a pattern names.

Specification: the Dockerfile reference, COPY.  Patterns are those of Go's filepath.Match.  ``..``
stays in the tree.  COPY follows a symlink that is itself a source, within the tree.  In a build
context, it refuses a symlink that leads out.  In an image, it resolves paths as a process with that
root does.  Files that an ignore file excludes do not exist for COPY.  All paths are bytes, relative
to the tree; nothing here depends on the tree's own place.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Protocol

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import RESOLVE_BENEATH, RESOLVE_IN_ROOT, openat2
from sundog.errors import BuildError, KernelError
from sundog.image.builder.files.content import (
    READ_FLAGS,
    ContentDigest,
    Source,
    changed,
    unknown_type,
    unreadable,
)
from sundog.image.builder.files.selection import Selection
from sundog.image.builder.tree_step import decoded, encoded
from sundog.image.dockerfile.ignore import PathPatterns
from sundog.image.dockerfile.wildcard import PatternError, compiled, has_wildcard, without_escapes
from sundog.image.layer.names import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sundog.base.record.owners import OwnerRecord, OwnersManifest
    from sundog.image.builder.files.content import Listing
    from sundog.image.builder.keys import Contents
    from sundog.image.dockerfile.globs import Automaton

_PIVOT = "/./"
_IMPOSSIBLE = {
    errno.ELOOP: "too many symlinks",
    errno.ENAMETOOLONG: "too long for a path",
}
_SHOWN = 200  # bytes of a path in a message


class Records(Protocol):
    """Facts about a tree that inodes do not show: the manifest of one layer or of several."""

    def record(self, path: bytes) -> OwnerRecord | None:
        """Return the record of the entry at a canonical path, if it has one."""


@dataclass(frozen=True, slots=True)
class ManifestRecords:
    """The manifest of one tree, as ``Records``."""

    owners: OwnersManifest

    def record(self, path: bytes) -> OwnerRecord | None:
        """Return the record of the entry at a canonical path, if it has one."""
        return self.owners.get(path)


class SourceTree:
    """The directory open as ``fd``, and the way to resolve paths in it (RESOLVE_*).

    COPY does not see ``ignored`` files.  ``records`` has the further facts about entries.  With
    ``keeps_owners``, copies keep their owners.  With ``follows``, symlinks are their targets.
    """

    def __init__(
        self,
        fd: int,
        resolve: int,
        *,
        ignored: PathPatterns | None = None,
        records: Records | None = None,
        keeps_owners: bool = False,
        follows: bool = False,
    ) -> None:
        self._fd = fd
        self._root = os.readlink(b"/proc/self/fd/%d" % fd).rstrip(b"/")
        self._resolve = resolve
        self._ignored = ignored
        self._records = records
        self.keeps_owners = keeps_owners
        self.follows = follows

    @classmethod
    def of_context(
        cls, fd: int, ignored: PathPatterns | None = None, records: Records | None = None
    ) -> SourceTree:
        """Return the tree of a build context: no path leads out of it."""
        return cls(fd, RESOLVE_BENEATH, ignored=ignored, records=records)

    @classmethod
    def of_host(cls, fd: int) -> SourceTree:
        """Return the tree of the host's files, with its root open as ``fd``: links are followed."""
        return cls(fd, 0, follows=True)

    @classmethod
    def of_image(cls, fd: int, records: Records | None = None) -> SourceTree:
        """Return the tree of an image: its root is the root of every path."""
        return cls(fd, RESOLVE_IN_ROOT, records=records, keeps_owners=True)

    def record(self, fd: int, name: bytes = b"") -> OwnerRecord | None:
        """Return the record of what is open as ``fd``, or of ``name`` in that directory."""
        if self._records is None:
            return None
        path = self.canonical(fd)
        return self._records.record(joined(path, name) if name else path)

    def canonical(self, fd: int) -> bytes:
        """Return the path in the tree of what is open as ``fd``, without symlinks."""
        path = os.readlink(b"/proc/self/fd/%d" % fd)
        return path[len(self._root) :].strip(b"/")

    def open(self, path: bytes, flags: int = READ_FLAGS) -> int:
        """Open ``path`` and follow symlinks; raise BuildError if it leads out."""
        try:
            return openat2(self._fd, path or b".", flags, self._resolve)
        except KernelError as error:
            if error.errno == errno.EXDEV:
                return self._open_real(path, flags)
            if error.errno == errno.ENXIO:
                raise unknown_type(path) from error
            if error.errno == errno.EACCES:
                raise unreadable(path) from error
            if error.errno in _IMPOSSIBLE:
                what = _IMPOSSIBLE[error.errno]
                raise BuildError(f"can't copy: {what}: {printable(path[:_SHOWN])}") from error
            raise

    def _open_real(self, path: bytes, flags: int) -> int:
        """Open the target of an absolute symlink that leads back into the context."""
        try:
            return openat2(self._fd, self._real_path(path), flags, self._resolve)
        except KernelError as error:
            if error.errno == errno.EXDEV:  # the symlink changed a moment ago
                raise changed(path) from error
            raise

    def _real_path(self, path: bytes) -> bytes:
        """Return the target of an absolute symlink that leads back into the context."""
        try:
            real = os.path.realpath(self._root + b"/" + path)
        except OSError as error:  # not a symlink any more
            raise changed(path) from error
        if not real.startswith(self._root + b"/"):
            raise _outside(path)
        return real[len(self._root) + 1 :]

    def is_directory(self, source: Source) -> bool:
        """Tell whether a source is a directory."""
        with Closing(self.open(source.path, os.O_PATH | os.O_CLOEXEC)) as fd:
            return stat.S_ISDIR(os.fstat(fd).st_mode)

    def literal(self, name: bytes) -> list[Source]:
        """Return the existing entry ``name`` of the tree as a source."""
        return [Source(name, name)]

    def find(
        self, patterns: Iterable[str], *, excluded: Sequence[str] = (), parents: bool = False
    ) -> list[Source]:
        """Return the sources that ``patterns`` name, in their order; sorted within a pattern.

        ``excluded`` are the patterns of ``--exclude``.  With ``parents`` (``--parents``), each
        source is a directory, of which COPY takes what the pattern names.  Raises BuildError for a
        name that does not exist; a pattern with wildcards may match nothing.
        """
        exclusion = _path_patterns(excluded) if excluded else None
        found: list[Source] = []
        for pattern in patterns:
            if parents:
                found += self._with_parents(pattern, exclusion)
            else:
                found += self._matches(pattern, exclusion)
        return found

    def _with_parents(self, pattern: str, excluded: PathPatterns | None) -> list[Source]:
        """Return the directories up to ``/./``, each with the files that the rest names."""
        above, pivot, rest = pattern.partition(_PIVOT)
        if not pivot:
            above, rest = "", pattern
        included = "/".join(_clean(rest))
        found = []
        for source in self._matches(above, None):
            with Closing(self.open(source.path)) as fd:
                if not stat.S_ISDIR(os.fstat(fd).st_mode):
                    raise BuildError(
                        f"not a directory: {above}", "--parents keeps the part after /./"
                    )
                patterns = _path_patterns([f"./{included}"]) if included else None
                place = decoded(self.canonical(fd))
                listing = self._listing(fd, Selection(place, self._ignored, excluded, patterns))
            if listing is not None and not listing.names[b""] and not has_wildcard(pattern):
                raise self._not_found(pattern)
            found.append(Source(source.path, source.name, listing))
        return found

    def _matches(self, pattern: str, excluded: PathPatterns | None) -> list[Source]:
        components = _clean(pattern)
        paths = [b""]
        for component in components:
            if has_wildcard(component):
                automaton = _compiled(component)
                paths = [
                    os.path.join(path, name)
                    for path in paths
                    for name in self._names(path)
                    if automaton.matches(decoded(name))
                ]
            else:
                name = encoded(without_escapes(component))
                paths = [os.path.join(path, name) for path in paths]
        is_pattern = any(map(has_wildcard, components))
        found = []
        for path in paths:
            source = self._source(path, excluded)
            if source is not None:
                found.append(source)
            elif not is_pattern and not self._is_excluded(path, excluded):
                raise self._not_found(pattern)
        return found

    def _names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory; none if ``path`` is not a directory."""
        try:
            fd = self.open(path, READ_FLAGS | os.O_DIRECTORY)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return []
            raise
        with Closing(fd):
            return [os.fsencode(name) for name in sorted(os.listdir(fd))]

    def _source(self, path: bytes, excluded: PathPatterns | None) -> Source | None:
        """Return the source at ``path``; None if it is missing, ignored or excluded."""
        try:
            fd = self.open(path, os.O_PATH | os.O_CLOEXEC)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            return None
        with Closing(fd):
            place = decoded(self.canonical(fd))
            names = {place, decoded(path)}
            ignored = any(self._ignored.match(name) for name in names) if self._ignored else False
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                is_taken = not ignored and not self._is_excluded(path, excluded)
                return Source(path, os.path.basename(path)) if is_taken else None
        selection = Selection(place, self._ignored, excluded)
        if selection.takes_all:
            return Source(path, os.path.basename(path))
        with Closing(self.open(path)) as fd:
            listing = self._listing(fd, selection)
        # The tree itself is always there: COPY . makes the directory, also without any file.
        if ignored and place and listing is not None and not listing.names[b""]:
            return None
        return Source(path, os.path.basename(path), listing)

    def _listing(self, fd: int, selection: Selection) -> Listing | None:
        if selection.takes_all:
            return None
        try:
            return selection.listing(fd)
        except PermissionError as error:
            raise unreadable(os.fsencode(error.filename or selection.place)) from error

    def _is_excluded(self, path: bytes, excluded: PathPatterns | None) -> bool:
        """Tell whether a file that is itself a source is excluded, by its path or by its name."""
        if not excluded:
            return False
        text = decoded(path)
        return excluded.match(text) or excluded.match(os.path.basename(text))

    def _not_found(self, pattern: str) -> BuildError:
        hint = "sources are relative to the context directory"
        if self.keeps_owners:
            hint = "sources are relative to the root of the image"
        elif self._ignored and self._ignored.match("/".join(_clean(pattern))):
            hint = "the ignore file excludes it"
        return BuildError(f"source not found: {pattern}", hint)

    def has_others_files(self, sources: Iterable[Source]) -> bool:
        """Tell whether root in a container, who is this user, can't write all of ``sources``."""
        return any(map(_is_out_of_reach, self._walk(sources)))

    def _walk(self, sources: Iterable[Source]) -> Iterator[os.stat_result]:
        for source in sources:
            with Closing(self.open(source.path)) as fd:
                yield os.fstat(fd)
                if self.is_directory(source):
                    for _, directories, files, inner in os.fwalk(".", dir_fd=fd):
                        for name in (*directories, *files):
                            yield os.lstat(name, dir_fd=inner)

    def digest(self, sources: Sequence[Source]) -> str:
        """Return a digest of everything that COPY copies from ``sources``."""
        return self.contents(sources).digest

    def contents(self, sources: Sequence[Source]) -> Contents:
        """Return the same digest, and the checksums of the first files."""
        digest = ContentDigest(follows=self.follows)
        for source in sources:
            with Closing(self.open(source.path)) as fd:
                digest.add(fd, source)
        return digest.value()


def _compiled(pattern: str) -> Automaton:
    try:
        return compiled(pattern)
    except PatternError as error:
        raise BuildError(str(error), "put a backslash before a literal [ or ]") from error


def _path_patterns(patterns: Sequence[str]) -> PathPatterns:
    try:
        return PathPatterns(patterns)
    except PatternError as error:
        raise BuildError(str(error), "put a backslash before a literal [ or ]") from error


def _clean(pattern: str) -> list[str]:
    """Split a pattern into components; ``..`` is resolved and does not lead above the tree."""
    components: list[str] = []
    for component in pattern.split("/"):
        if component == "..":
            del components[-1:]
        elif component not in ("", "."):
            components.append(component)
    return components


def _is_out_of_reach(info: os.stat_result) -> bool:
    """Tell whether container root can't write the file.

    CAP_DAC_OVERRIDE does not reach an owner who is not mapped.
    """
    is_others_group = info.st_gid != os.getegid()
    return info.st_uid != os.geteuid() or (is_others_group and not info.st_mode & stat.S_IWUSR)


def _outside(path: bytes) -> BuildError:
    return BuildError(
        f"can't copy from outside the context: {printable(path)}",
        "copy the file into the context directory, or use a directory above as the context",
    )
