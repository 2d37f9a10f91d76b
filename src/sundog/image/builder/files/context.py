"""Build contexts: the files that COPY and ADD take, and the files that a build does not see.

Specification: Docker's documentation, “Build context”.  A context is a directory, a tar archive, or
nothing.  The directory's ``.dockerignore`` excludes files; a file ``DOCKERFILE.dockerignore``
beside the Dockerfile takes precedence over it.  A tar archive has no ignore file.
"""

from __future__ import annotations

import os

from sundog.errors import ArchiveError, BuildError, UsageError
from sundog.image.builder.document import read_document
from sundog.image.builder.files.sources import ManifestRecords, SourceTree
from sundog.image.dockerfile.ignore import PathPatterns, read_ignore_file
from sundog.image.dockerfile.wildcard import PatternError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, TypeAlias

    from sundog.image.builder.bases import ImageName
    from sundog.image.builder.files.sources import Records
    from sundog.image.store.store import Store

_IGNORE_FILE = ".dockerignore"
_IGNORE_LIMIT = 256 << 10  # bytes


class BuildContext:
    """One context; the first instruction that reads it opens it."""

    def __init__(
        self,
        path: str | None,
        dockerfile: str = "",
        *,
        option: str = "context",
        records: Records | None = None,
        is_archive: bool = False,
        ignore_file: str | None = None,
    ) -> None:
        """Take a directory, or None for no context; raise UsageError if it is not a directory.

        ``dockerfile`` is the path of the Dockerfile; its own ignore file takes precedence.
        ``option`` is the option that gave the directory.  ``records`` belong to an archive that was
        unpacked there.  ``ignore_file`` takes the place of all ignore files.
        """
        if path is not None and not os.path.isdir(path):
            raise UsageError(
                f"{option} must be a directory: {path}",
                'or "-" for a build that copies nothing' if option == "context" else "",
            )
        self._path = path
        self._dockerfile = dockerfile
        self._records = records
        self._is_archive = is_archive
        self._ignore_file = ignore_file
        self._tree: SourceTree | None = None

    @property
    def path(self) -> str | None:
        """The directory; None if there is none."""
        return self._path

    def tree(self) -> SourceTree:
        """Return the files of the context; raise BuildError if there is no context."""
        if self._path is None:
            raise BuildError(
                'no context, because CONTEXT is "-"', "give the context as a directory"
            )
        if self._tree is None:
            ignored = self.ignored()
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._tree = SourceTree.of_context(fd, ignored, self._records)
        return self._tree

    def ignore_file(self) -> str:
        """Return the path of the ignore file that counts; "" if there is none."""
        if self._path is None or self._is_archive:
            return ""
        if self._ignore_file is not None:
            return self._ignore_file
        places = [os.path.join(self._path, _IGNORE_FILE)]
        if self._dockerfile:
            places.insert(0, self._dockerfile + _IGNORE_FILE)
        return next(filter(os.path.exists, places), "")

    def ignored(self) -> PathPatterns | None:
        """Return the ignore file's patterns, if there is one; raise BuildError for a bad one."""
        place = self.ignore_file()
        if not place:
            return None
        try:
            return PathPatterns(read_ignore_file(read_document(place, _IGNORE_LIMIT)))
        except OSError as error:
            raise BuildError(f"can't read {place}: {error.strerror}") from error
        except PatternError as error:
            raise BuildError(f"{place}: {error}") from error


if TYPE_CHECKING:
    # The source of a --build-context: files, or an image.
    NamedContext: TypeAlias = BuildContext | ImageName


def unpacked_context(store: Store, stream: BinaryIO, name: str) -> BuildContext:
    """Return the context in ``stream``, a tar archive in any compression.

    The unpacked files stay in the store until the store is closed.  Raises ArchiveError; ``name``
    is for its message.
    """
    from sundog.base.record.owners import pack_owners, unpack_owners
    from sundog.image.layer.compression import open_decompressed  # seldom needed
    from sundog.image.layer.unpack import unpack
    from sundog.runtime.steps.step import in_root

    with store.faults:
        place = store.scratch.new()
        try:
            # As mock root over the directory, so that the archive's modes are no obstacle.
            packed = in_root(
                [], lambda _: pack_owners(unpack(open_decompressed(stream), place).owners)
            )
        except ArchiveError as error:
            raise ArchiveError(f"can't unpack {name}: {error.message}", error.hint) from error
    return BuildContext(
        os.fsdecode(place),
        records=ManifestRecords(unpack_owners(packed)),
        is_archive=True,
        option=name,
    )
