"""The files below a directory that COPY takes: ``.dockerignore``, ``--exclude``, ``--parents``.

Specification: the Dockerfile reference, “COPY --exclude”, “COPY --parents”, and
``dockerfile.ignore``.  Patterns of an ignore file are relative to the tree; those of the flags are
relative to the directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.image.builder.files.content import Listing, check_depth, open_in
from sundog.image.builder.tree_step import decoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.dockerfile.ignore import PathPatterns


@dataclass(frozen=True, slots=True)
class Selection:
    """The rules for files below the directory ``place`` of a tree; None: no rule."""

    place: str
    ignored: PathPatterns | None = None
    excluded: PathPatterns | None = None
    included: PathPatterns | None = None

    @property
    def takes_all(self) -> bool:
        """Tell whether there is no rule at all."""
        return not (self.ignored or self.excluded or self.included is not None)

    def takes(self, path: str) -> bool:
        """Tell whether COPY takes ``path``, relative to the directory, itself."""
        return not (
            (self.ignored and self.ignored.match(self._in_tree(path)))
            or (self.excluded and self.excluded.match(path))
            or (self.included is not None and not self.included.match(path))
        )

    def may_take_below(self, path: str) -> bool:
        """Tell whether COPY may take anything below the directory ``path``."""
        whole = self._in_tree(path)
        if self.ignored and self.ignored.match(whole) and not self.ignored.may_except_below(whole):
            return False
        if self.excluded and self.excluded.match(path) and not self.excluded.may_except_below(path):
            return False
        return (
            self.included is None
            or self.included.match(path)
            or self.included.may_match_below(path)
        )

    def _in_tree(self, path: str) -> str:
        return f"{self.place}/{path}" if self.place else path

    def listing(self, fd: int) -> Listing:
        """Read the directory ``fd`` and all below; raise OSError if one can't be read."""
        listing = Listing()
        self._list(fd, b"", listing)
        return listing

    def _list(self, fd: int, directory: bytes, listing: Listing) -> None:
        names = listing.names[directory] = []
        with os.scandir(fd) as entries:
            kinds = sorted(
                (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
            )
        for name, is_directory in kinds:
            path = os.path.join(directory, name)
            text = decoded(path)
            is_taken = self.takes(text)
            if is_directory and self.may_take_below(text):
                check_depth(path)
                with Closing(open_in(fd, name, path, os.O_DIRECTORY)) as inner:
                    self._list(inner, path, listing)
                if not is_taken and listing.names[path]:
                    is_taken = True
                    listing.implied.add(path)
            if is_taken:
                names.append(name)
                if is_directory:
                    listing.names.setdefault(path, [])
