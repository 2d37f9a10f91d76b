"""Owners of the files in an image's directory: from its records, its inodes, or a guess."""

from __future__ import annotations

from sundog.base.record.owners import OwnerRecord
from sundog.errors import SundogError
from sundog.image.layer.below import SET_ID
from sundog.image.layer.names import display

TYPE_CHECKING = False
TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.xattrs import Pairs

Owner = tuple[int, int]

PLACEHOLDERS = {"c": "f", "b": "f"}  # device → the kind of its placeholder
_SHOWN = 50  # unreadable files at most that a message names


class DirectoryOwners:
    """The owners in a directory; see ``import_directory`` for ``foreign`` and ``guessed``."""

    def __init__(
        self, foreign: Mapping[bytes, Owner], records: OwnersManifest | None, *, guessed: bool
    ) -> None:
        self._foreign = foreign
        self._records = records or {}
        self._guessed = guessed and records is None

    def recorded(self, path: bytes, kind: str) -> OwnerRecord | None:
        """Return the directory's own record of ``path``, if it is for an inode of ``kind``."""
        record = self._records.get(path)
        if record is None or PLACEHOLDERS.get(record.kind, record.kind) != kind:
            return None
        return record

    def record(
        self, path: bytes, kind: str, status: os.stat_result, xattrs: Pairs = ()
    ) -> OwnerRecord:
        """Return what the inode of ``kind`` and ``status`` at ``path`` is in the image.

        ``xattrs`` are those that the image's inode can't have.
        """
        uid, gid = self._foreign.get(path, (0, 0))
        rdev = status.st_rdev if kind in PLACEHOLDERS else 0
        guessed = kind in "fd" and self._is_guess(path, status)
        if (recorded := self.recorded(path, kind)) is not None:
            kind, uid, gid, rdev = recorded.kind, recorded.uid, recorded.gid, recorded.rdev
            xattrs = tuple({**dict(xattrs), **dict(recorded.xattrs)}.items())
        return OwnerRecord(kind, uid, gid, rdev=rdev, xattrs=xattrs, guessed=guessed)

    def _is_guess(self, path: bytes, status: os.stat_result) -> bool:
        """Tell whether a file or directory of the user's own has set-id bits that are a guess."""
        return self._guessed and bool(status.st_mode & SET_ID) and path not in self._foreign


def unreadable_error(source: bytes, paths: Collection[bytes]) -> SundogError:
    """Return the error that names the unreadable ``paths`` of the directory ``source``."""
    shown = ", ".join(map(display, sorted(paths)[:_SHOWN]))
    more = len(paths) - _SHOWN
    return SundogError(
        f"cannot read in {display(source)}: {shown}{f' and {more} more' if more > 0 else ''}",
        "make them readable, or import a tar made by somebody who may read them",
    )
