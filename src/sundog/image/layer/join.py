"""Join layers into one, which shows the same on top of the same layers.

Files are copied as ``flatten`` does it, so they share their data where the file system supports
that.  Whiteouts and opaque marks stay where they hide something of the layers below, and only
there.  The topmost layer that holds a path decides about its owner, as everywhere.
"""

from __future__ import annotations

import os

from sundog.base.record.guesses import GUESSES, pack_guesses
from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.below import Below
from sundog.image.layer.directories import Directories
from sundog.image.layer.flatten import flatten
from sundog.image.layer.guessing import guesses_of_image
from sundog.image.layer.marks import WHITEOUT_RECORD, place_marks
from sundog.image.layer.names import joined
from sundog.image.layer.remove import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.below import LayerTree

_ALL_GUESSED = pack_guesses({b"": True})


def join(
    layers: Sequence[LayerTree], below: Sequence[LayerTree], tree: bytes
) -> tuple[OwnersManifest, bool]:
    """Make the empty directory ``tree`` a layer that shows what ``layers`` show on ``below``.

    Both are given with the topmost first.  Return the manifest, and whether nobody saw the owner of
    any file; if that is so only of some files, the tree gets the list of ``record.guesses``.
    Raises OSError; ``tree`` is then incomplete.
    """
    flatten(layers[::-1], tree)
    guesses = guesses_of_image(layers)
    with Below(layers) as view, Below(below) as under, Directories(tree) as directories:
        owners = _Manifest(view, under).of(layers)
        changed = {path.rpartition(b"/")[0] for path, one in owners.items() if one.kind == "w"}
        times = {path: os.fstat(directories.open(path)) for path in changed}
        place_marks(directories, owners, under)
        for path, status in times.items():
            os.utime(directories.open(path), ns=(status.st_atime_ns, status.st_mtime_ns))
        is_unseen = guesses == _ALL_GUESSED
        if guesses is not None and not is_unseen:
            owners.pop(GUESSES, None)
            is_unseen = not _write_guesses(directories, guesses)
    return owners, is_unseen


class _Manifest:
    """The manifest of what shows in ``view``, as a layer on top of ``under``."""

    def __init__(self, view: Below, under: Below) -> None:
        self._view = view
        self._under = under
        self._owners: OwnersManifest = {}
        self._open: set[bytes] = set()  # directories in which entries below show

    def of(self, layers: Sequence[LayerTree]) -> OwnersManifest:
        root = self._view.lookup(b"")
        if root is not None:
            self._add_directory(b"", root.record)
        for layer in layers:
            for path, record in layer.owners.items():
                if (
                    record.kind == "w"
                    and path.rpartition(b"/")[0] in self._open
                    and self._view.lookup(path) is None
                    and self._under.lookup(path) is not None
                ):
                    self._owners[path] = WHITEOUT_RECORD
        return self._owners

    def _add_directory(self, directory: bytes, record: OwnerRecord | None) -> None:
        """Add a directory and all that is in it."""
        ahead = [(directory, record)]
        while ahead:
            directory, record = ahead.pop()
            parent = directory.rpartition(b"/")[0]
            merges = not directory or parent in self._open
            opaque = merges and self._view.ends_at(directory)
            if merges and not opaque:
                self._open.add(directory)
            self._record(
                directory, _with_mark(record, opaque and bool(self._under.holders(directory)))
            )
            for name, found in self._view.entries(directory):
                path = joined(directory, name)
                if found.is_directory:
                    ahead.append((path, found.record))
                else:
                    self._record(path, found.record)

    def _record(self, path: bytes, record: OwnerRecord | None) -> None:
        if record is not None and not record.is_plain:
            self._owners[path] = record


def _with_mark(record: OwnerRecord | None, opaque: bool) -> OwnerRecord | None:
    """Return the record of a directory, opaque or not."""
    if record is None:
        return OwnerRecord("d", opaque=True) if opaque else None
    if record.opaque == opaque:
        return record
    return OwnerRecord(
        record.kind,
        record.uid,
        record.gid,
        xattrs=record.xattrs,
        opaque=opaque,
        guessed=record.guessed,
    )


def _write_guesses(directories: Directories, guesses: bytes) -> bool:
    """Write the list into the tree; return whether the tree has room for it."""
    directory, _, name = GUESSES.rpartition(b"/")
    root = directories.open(b"")
    before = os.fstat(root)
    times = (before.st_atime_ns, before.st_mtime_ns)
    try:
        os.mkdir(directory, 0o755, dir_fd=root)
        os.utime(root, ns=times)
    except FileExistsError:
        try:
            status = os.fstat(directories.open(directory))
        except OSError:  # a file, or a link
            return False
        times = (status.st_atime_ns, status.st_mtime_ns)
    fd = directories.open(directory)
    remove_tree(name, dir_fd=fd)
    with open(
        name, "xb", opener=lambda path, flags: os.open(path, flags, 0o644, dir_fd=fd)
    ) as file:
        file.write(guesses)
        file.flush()
        os.utime(file.fileno(), ns=times)
    os.utime(fd, ns=times)
    return True
