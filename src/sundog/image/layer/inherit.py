"""Records that a build step's layer inherits from the layers below: owners, not the skeleton.

A file that an ordinary user makes or changes belongs to that user, so its inode says nothing of
its owner in the image.  The rule: the file inherits the record of the same path and type below;
without one it is root's.  It inherits extended attributes only if it is the very file below,
changed in place: a new file at the same path must not have the old one's capabilities.

The skeleton is mounted under an image that lacks ``/dev``, ``/etc`` and the like.  What a layer
holds only because of the skeleton is removed from it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Self

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.below import SET_ID, Below, LayerTree, kind_of
from sundog.image.layer.known_records import KnownRecords
from sundog.image.layer.xattrs import get_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_BUFFER_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class StepOwners:
    """The owners that a step itself knows.  They overrule those of the layers below.

    The step knows the owners of the paths in ``records``; a record may also say root.  With
    ``is_complete`` it knows all owners, and a path without a record is root's.  ``guessed`` says
    that the step's files may be anybody's: its emulation forgot which owners it reported.
    ``unrecorded`` says that nobody saw whose they are, whatever the emulation reported.
    """

    records: KnownRecords = field(default_factory=KnownRecords)
    is_complete: bool = False
    guessed: bool = False
    unrecorded: bool = False

    def decide(self, path: bytes) -> bool:
        """Tell whether the step knows the owner of ``path``."""
        return self.is_complete or self.records.get(path) is not None


class Base:
    """The start of a step: the layers below it and the skeleton.  A context manager.

    ``known`` are the owners that the step itself knows.
    """

    def __init__(
        self,
        below: Sequence[LayerTree],
        skeleton: bytes,
        known: StepOwners | None = None,
    ) -> None:
        self.below = Below(below)
        self._known = known or StepOwners()
        self._skeleton = Below([LayerTree(skeleton, {})])

    def __enter__(self) -> Self:
        self.below.__enter__()
        self._skeleton.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._skeleton.__exit__(kind, error, trace)
        self.below.__exit__(kind, error, trace)

    @property
    def root_mode(self) -> int:
        """The permission bits of ``/`` before the step."""
        root = self.below.lookup(b"")
        return root.mode if root else 0o755

    def record(
        self,
        path: bytes,
        status: os.stat_result,
        *,
        same_file: bool,
        perhaps_same: bool = False,
        opaque: bool = False,
    ) -> OwnerRecord | None:
        """Return the record of the entry ``path`` of the new layer, None if it needs none.

        ``same_file`` says that the entry is the one below, changed in place; ``perhaps_same`` says
        that it may be.
        """
        kind = kind_of(status.st_mode)
        if not kind:
            return None  # a socket, which no archive holds
        guessed = False
        if stat.S_ISREG(status.st_mode) and status.st_mode & SET_ID:  # only these can do harm
            guessed = self._is_guess(path, same_file, perhaps_same or same_file)
        if self._known.decide(path):
            old, same_file = self._known.records.get(path), True
        else:
            old = self.below.record(path)
            if kind == "d" and status.st_mode & SET_ID:
                guessed = old is not None and old.guessed  # an import guessed
        if old is None and not (opaque or guessed):
            return None
        record = OwnerRecord(kind, opaque=opaque, guessed=guessed)
        if old is not None:
            if old.kind == kind:
                xattrs = old.xattrs if same_file else ()
                if (xattrs, opaque, guessed) == (old.xattrs, old.opaque, old.guessed):
                    return None if old.is_plain else old  # paths share records
                record = OwnerRecord(
                    kind, old.uid, old.gid, xattrs=xattrs, opaque=opaque, guessed=guessed
                )
            elif old.kind in "cb" and kind == "f" and same_file and not status.st_size:
                return old  # the placeholder of a device
        return None if record.is_plain else record

    def _is_guess(self, path: bytes, same_file: bool, perhaps_same: bool) -> bool:
        """Tell whether the owner of a file is unknown.  The arguments are as for ``record``."""
        told = self._known.records.get(path)
        if told is not None and (told.uid or told.gid or not self._known.is_complete):
            return told.guessed
        if not same_file and self._known.guessed:
            return True
        if not perhaps_same:
            return False
        found = self.below.lookup(path)
        if found is None:  # the file had another name below, which is not looked for
            return not self._known.is_complete
        return found.is_guessed

    def is_skeleton_file(self, path: bytes, status: os.stat_result, fd: int, name: bytes) -> bool:
        """Tell whether the file ``name`` in the directory ``fd`` is the skeleton's, unchanged.

        ``path`` and ``status`` are the file's.
        """
        there = self._skeleton.lookup(path)
        return (
            there is not None
            and there.status.st_mode == status.st_mode
            and there.status.st_size == status.st_size
            and self.below.lookup(path) is None
            and _same_data((there.root, there.path), (fd, name))
        )

    def is_unchanged_directory(self, path: bytes, status: os.stat_result, fd: int) -> bool:
        """Tell whether the step left the directory ``fd`` as it was, apart from its entries.

        The time of a directory that only the skeleton has does not count.
        """
        there = self.below.lookup(path)
        if there is not None and there.status.st_mtime_ns != status.st_mtime_ns:
            return False
        if self._known.decide(path) and not _is_same_owner(
            self._known.records.get(path), there.record if there else None
        ):
            return False
        there = there or self._skeleton.lookup(path)
        return (
            there is not None
            and there.status.st_mode == status.st_mode
            and there.xattrs() == get_xattrs(fd)
        )


def _is_same_owner(one: OwnerRecord | None, other: OwnerRecord | None) -> bool:
    owners = [(record.uid, record.gid) if record else (0, 0) for record in (one, other)]
    return owners[0] == owners[1]


def _same_data(one: tuple[int, bytes], other: tuple[int, bytes]) -> bool:
    """Tell whether two files of equal size, given as (directory, path), have the same data."""
    fds = []
    try:
        for directory, path in (one, other):
            fds.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory))
        while True:
            data, others = (os.read(fd, _BUFFER_SIZE) for fd in fds)
            if data != others:
                return False
            if not data:
                return True
    finally:
        for fd in fds:
            os.close(fd)
