"""Build contexts: the files that COPY and ADD take, and which of them a build does not see.

Specification: Docker's documentation, “Build context”: a directory, whose ``.dockerignore`` says
what is left out, but one that belongs to the Dockerfile, ``DOCKERFILE.dockerignore``, goes first; a
tar archive, of which all is seen; or nothing.
"""

from __future__ import annotations

import os

from sundog.build.sources import SourceTree
from sundog.dockerfile.ignore import PathPatterns, read_ignore_file
from sundog.dockerfile.wildcard import PatternError
from sundog.errors import BuildError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.build.sources import Records

_IGNORE_FILE = ".dockerignore"


class BuildContext:
    """One context; opened when the first instruction reads it."""

    def __init__(
        self,
        path: str | None,
        dockerfile: str = "",
        *,
        option: str = "context",
        records: Records | None = None,
        is_archive: bool = False,
    ) -> None:
        """Take a directory, or None for no context; raise UsageError if it is no directory.

        ``dockerfile`` is the path of the Dockerfile, whose own ignore file goes first, and
        ``option`` what gave the directory; ``records`` are of an archive that was unpacked there.
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
        self._tree: SourceTree | None = None

    @property
    def path(self) -> str | None:
        """The directory, None if there is none."""
        return self._path

    def tree(self) -> SourceTree:
        """Return the files of the context; raise BuildError if there are none."""
        if self._path is None:
            raise BuildError('no context because "-" given', "give the context as a directory")
        if self._tree is None:
            ignored = self.ignored()
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._tree = SourceTree.of_context(fd, ignored, self._records)
        return self._tree

    def ignore_file(self) -> str:
        """Return the path of the ignore file that counts, "" if there is none."""
        if self._path is None or self._is_archive:
            return ""
        places = [os.path.join(self._path, _IGNORE_FILE)]
        if self._dockerfile:
            places.insert(0, self._dockerfile + _IGNORE_FILE)
        return next(filter(os.path.exists, places), "")

    def ignored(self) -> PathPatterns | None:
        """Return what the ignore file says, if there is one; raise BuildError for no pattern."""
        place = self.ignore_file()
        if not place:
            return None
        try:
            with open(place, "rb") as file:
                return PathPatterns(read_ignore_file(file.read()))
        except OSError as error:
            raise BuildError(f"can't read {place}: {error.strerror}") from error
        except PatternError as error:
            raise BuildError(f"{place}: {error}") from error
