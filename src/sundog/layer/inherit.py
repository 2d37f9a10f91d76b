"""What a step of a build takes over from the layers below it: owners, and nothing for the skeleton.

A file that an ordinary user makes or changes is his, so who owned it is lost on its inode.  The
rule: the record of the same path below, if it is of the same type; else root's.  Extended
attributes of the record go only to the very file that had them, changed in place; a new file in its
place must not have its capabilities.

The skeleton is what is mounted under an image that lacks ``/dev``, ``/etc`` and their like: what is
in a layer only because of it goes.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sundog.layer.below import SET_ID, Below, LayerTree, kind_of
from sundog.layer.xattrs import get_xattrs
from sundog.record.owners import OwnerRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sundog.record.owners import OwnersManifest

_BUFFER_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class StepOwners:
    """What a step itself knows of owners: there it decides instead of the layers below.

    It knows about the paths in ``records``, where a record may also say that something is root's;
    with ``is_complete`` about all, and what has no record is root's.  ``guessed`` says that what
    the step made may be anybody's: its emulation forgot what it told.
    """

    records: OwnersManifest
    is_complete: bool = False
    guessed: bool = False

    def decide(self, path: bytes) -> bool:
        """Tell whether the owner of ``path`` is known."""
        return self.is_complete or path in self.records


class Base:
    """What a step began with: the layers below it and the skeleton.  A context manager.

    ``known`` is what the step itself knows of owners.
    """

    def __init__(
        self,
        below: Sequence[LayerTree],
        skeleton: bytes,
        known: StepOwners | None = None,
    ) -> None:
        self.below = Below(below)
        self._known = known or StepOwners({})
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
        """The permission bits of ``/`` at the beginning."""
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

        ``same_file`` says that it is the one below, changed in place; ``perhaps_same`` that it may
        be.
        """
        kind = kind_of(status.st_mode)
        if not kind:
            return None  # a socket: nobody's, and in no archive
        guessed = False
        if stat.S_ISREG(status.st_mode) and status.st_mode & SET_ID:  # else it does not matter
            guessed = self._is_guess(path, same_file, perhaps_same or same_file)
        record = OwnerRecord(kind, opaque=opaque, guessed=guessed)
        old = self.below.record(path)
        if self._known.decide(path):
            old, same_file = self._known.records.get(path), True
        elif kind == "d" and status.st_mode & SET_ID:
            guessed = old is not None and old.guessed  # an imported one, with the user's own bits
        if old is not None:
            if old.kind == kind:
                xattrs = old.xattrs if same_file else ()
                record = OwnerRecord(
                    kind, old.uid, old.gid, xattrs=xattrs, opaque=opaque, guessed=guessed
                )
            elif old.kind in "cb" and kind == "f" and same_file and not status.st_size:
                return old  # the file that holds a device's place
        return None if record.is_plain else record

    def _is_guess(self, path: bytes, same_file: bool, perhaps_same: bool) -> bool:
        """Tell whether nobody knows whose a file is, as for ``record``."""
        told = self._known.records.get(path)
        if told is not None and (told.uid or told.gid or not self._known.is_complete):
            return told.guessed
        if not same_file and self._known.guessed:
            return True
        if not perhaps_same:
            return False
        found = self.below.lookup(path)
        if found is None:  # it had another name, and nobody looks for that
            return not self._known.is_complete
        return found.is_guessed

    def is_skeleton_file(self, path: bytes, status: os.stat_result, fd: int, name: bytes) -> bool:
        """Tell whether the file ``name`` in the directory ``fd`` is one of the skeleton's, as ever.

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
        """Tell whether the directory ``fd``, apart from its entries, is as it was.

        Of a directory that only the skeleton has, the time does not matter.
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
    """Compare two files, given as directory and path, of one size."""
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
