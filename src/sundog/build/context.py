"""The build context: the directory that COPY takes files from, or none."""

from __future__ import annotations

import os

from sundog.build.sources import SourceTree
from sundog.errors import BuildError, UsageError

# Docker reads DOCKERFILE.dockerignore in its place if that exists.
_IGNORE_FILE = ".dockerignore"


class BuildContext:
    """The context of one build; opened when the first COPY reads it."""

    def __init__(self, path: str | None) -> None:
        """Take a directory, or None for no context; raise UsageError if it is no directory."""
        if path is not None and not os.path.isdir(path):
            raise UsageError(
                f"context must be a directory: {path}", 'or "-" for a build that copies nothing'
            )
        self._path = path
        self._tree: SourceTree | None = None

    def tree(self) -> SourceTree:
        """Return the files of the context; raise BuildError if there are none."""
        if self._path is None:
            raise BuildError('no context because "-" given', "give the context as a directory")
        if self._tree is None:
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._tree = SourceTree.of_context(fd)
        return self._tree

    def ignore_file(self, dockerfile: str) -> str:
        """Return the path of the ignore file that Docker would read, "" if there is none."""
        if self._path is None:
            return ""
        for path in (f"{dockerfile}{_IGNORE_FILE}", os.path.join(self._path, _IGNORE_FILE)):
            if os.path.exists(path):
                return path
        return ""
