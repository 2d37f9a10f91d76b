"""Tell ``mksquashfs`` what the inodes of a mounted image do not show.

``mksquashfs`` takes names, contents, kinds, modes and times from the mount.  Its pseudo file adds
owners, devices, attributes, and what is not in the layers.  A list of excluded files removes the
placeholders of devices.  Not every image can be described in this way; a tar describes all of them.

Format: mksquashfs(1), "PSEUDO FILE DEFINITION FORMAT".  A byte behind a backslash stands for
itself.  Each definition is a line, so no name can have a newline.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.image.layer.below import SET_ID
from sundog.image.layer.bytecode import head_with_hash
from sundog.image.layer.directory_owners import PLACEHOLDERS
from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.holes import data_extents, has_no_holes
from sundog.image.layer.tar_writer import ZEROS_WRITTEN
from sundog.image.layer.whole_image import image_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.layer.below import Below, Found
    from sundog.image.layer.whole_image import Added, Entry
    from sundog.image.layer.xattrs import Pairs

LATEST = (1 << 32) - 1  # the latest time in a SquashFS file
_PATH_LIMIT = 4000  # PATH_MAX without the path of the mount
_EXCLUDED_LIMIT = 1000  # mksquashfs compares each file with each of them
# mksquashfs looks for each name in a list of the names of its directory: a second of its time.
_COMPARISONS_LIMIT = 200_000_000
_MAJOR_LIMIT, _MINOR_LIMIT = 0xFFF, 0xFFFFF
_USER = b"user."
_PREFIXES = (_USER, b"trusted.", b"security.")  # SquashFS has no other attributes
_ATTRIBUTE = re.compile(rb"[!-<>-~]+")  # a printable word without "="
_SPECIAL = re.compile(rb"[^A-Za-z0-9_./+-]")
_LINE = 8192  # characters of a definition in one line; mksquashfs takes 16384 with the name


@dataclass(frozen=True, slots=True)
class RootInode:
    """The root directory of a SquashFS file; ``seconds`` is its time since 1970."""

    mode: int
    uid: int
    gid: int
    seconds: int
    xattrs: Pairs


@dataclass(frozen=True, slots=True)
class Description:
    """The description of an image for ``mksquashfs``.

    root        the root directory
    definitions the pseudo file
    excluded    the list of excluded files, relative to the mount
    files       the added files, whose names are their numbers
    dropped     the entries that lose their set-id bits, as a tar names them
    """

    root: RootInode
    definitions: bytes
    excluded: bytes
    files: Sequence[Entry]
    dropped: Sequence[bytes]


class _Inexpressible(Exception):
    """An image can't be described."""


def describe(
    view: Below,
    added: Added,
    place: bytes,
    *,
    keeps_xattrs: bool,
    latest: int | None = None,
) -> Description | None:
    """Describe an image; return None if that is impossible, or slower than a tar.

    ``view`` and ``added`` are as for ``whole_image.image_entries``.  The added files will be in the
    directory ``place``.  No file will be younger than ``latest``.  Raises OSError.
    """
    try:
        return _Describer(view, place, keeps_xattrs=keeps_xattrs, latest=latest).run(added)
    except _Inexpressible:
        return None


def is_definable(name: bytes, value: bytes) -> bool:
    """Tell whether an extended attribute can be defined."""
    return bool(value and name.startswith(_PREFIXES) and _ATTRIBUTE.fullmatch(name))


def attribute(name: bytes, value: bytes) -> bytes:
    """Return what defines an attribute, to be put behind a path."""
    return b"x %s=0s%s" % (name, b64encode(value))


class _Describer:
    """The state of describing one image."""

    def __init__(
        self, view: Below, place: bytes, *, keeps_xattrs: bool, latest: int | None
    ) -> None:
        self._latest = latest
        self._view = view
        self._place = place
        self._keeps_xattrs = keeps_xattrs
        self._lines: list[bytes] = []
        self._excluded: list[bytes] = []
        self._files: list[Entry] = []
        self._dropped: list[bytes] = []
        self._changed: dict[bytes, bytes] = {}  # the first name of a file → its definition
        self._zeros = ZEROS_WRITTEN  # bytes of holes that mksquashfs may still read
        self._sizes: Counter[bytes] = Counter()  # directory → its entries
        self._defined: Counter[bytes] = Counter()  # directory → definitions in it

    def run(self, added: Added) -> Description:
        root = None
        for entry in image_entries(self._view, added):
            seconds = _seconds(entry)
            if len(entry.path) > _PATH_LIMIT:
                raise _Inexpressible
            if not entry.path:
                root = self._root_directory(entry, seconds)
                continue
            self._sizes[_parent(entry.path)] += 1
            if entry.found is None:
                self._addition(entry, seconds)
            elif not entry.kind:
                self._exclude(entry.path, entry.found)  # a socket
            elif entry.first is not None:
                # All names must say the same: the last one decides.
                self._mode(entry)
                if definition := self._changed.get(entry.first):
                    self._define(entry.path, definition)
            elif entry.kind == "f" and entry.record.kind in PLACEHOLDERS:
                self._device(entry, entry.found, seconds)
            else:
                self._inode(entry, entry.found)
        assert root is not None
        if self._comparisons() > _COMPARISONS_LIMIT:
            raise _Inexpressible
        definitions, excluded = b"".join(self._lines), b"".join(self._excluded)
        return Description(root, definitions, excluded, self._files, self._dropped)

    def _root_directory(self, entry: Entry, seconds: int) -> RootInode:
        record = entry.record
        if record.uid or record.gid:
            raise _Inexpressible  # -all-root decides about the root
        return RootInode(self._mode(entry), 0, 0, seconds, self._xattrs(entry))

    def _addition(self, entry: Entry, seconds: int) -> None:
        """Define what is not in the layers."""
        replaced = self._view.lookup(entry.path)
        if replaced is not None:
            self._exclude(entry.path, replaced)
        if entry.kind == "d":
            self._define(entry.path, b"D %d %o 0 0" % (seconds, entry.mode))
        elif entry.kind == "l":
            if _SPECIAL.search(entry.content):
                raise _Inexpressible
            self._define(entry.path, b"S %d %o 0 0 %s" % (seconds, entry.mode, entry.content))
        else:
            self._define(entry.path, b"l %s/%d" % (self._place, len(self._files)))
            self._files.append(entry)

    def _device(self, entry: Entry, placeholder: Found, seconds: int) -> None:
        """Define a device in place of its placeholder."""
        record = entry.record
        major, minor = os.major(record.rdev), os.minor(record.rdev)
        if major > _MAJOR_LIMIT or minor > _MINOR_LIMIT:
            raise _Inexpressible
        self._exclude(entry.path, placeholder)
        words = (record.kind.upper().encode(), seconds, self._mode(entry), record.uid, record.gid)
        self._define(entry.path, b"%s %d %o %d %d %d %d" % (*words, major, minor))
        self._attributes(entry)

    def _inode(self, entry: Entry, found: Found) -> None:
        """Define what an inode does not show."""
        if entry.kind == "f":
            self._count_holes(found)
            self._check_bytecode(entry.path, found)
        mode, record = self._mode(entry), entry.record
        if mode != entry.mode or record.uid or record.gid:
            definition = b"m %o %d %d" % (mode, record.uid, record.gid)
            self._define(entry.path, definition)
            if found.status.st_nlink > 1 and entry.kind != "d":
                self._changed[entry.path] = definition
        self._attributes(entry)

    def _mode(self, entry: Entry) -> int:
        """Return the mode, without set-id bits if it is unknown who owns the entry."""
        if not (entry.record.guessed and entry.mode & SET_ID):
            return entry.mode
        is_directory = entry.kind == "d"
        self._dropped.append((entry.path or b".") + b"/" if is_directory else entry.path)
        return entry.mode & ~SET_ID

    def _check_bytecode(self, path: bytes, found: Found) -> None:
        """Refuse byte code whose header must change, because mksquashfs reads the file itself."""
        if self._latest is not None and path.endswith(b".pyc"):
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            with Closing(os.open(found.path, flags, dir_fd=found.root)) as file:
                if head_with_hash(path, file, self._latest, self._view.open_file):
                    raise _Inexpressible

    def _count_holes(self, found: Found) -> None:
        """Count the holes of a file: mksquashfs would read all of them."""
        if has_no_holes(found.status):
            return
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        with Closing(os.open(found.path, flags, dir_fd=found.root)) as file:
            data = sum(length for _, length in data_extents(file))
        self._zeros -= found.status.st_size - data
        if self._zeros < 0:
            raise _Inexpressible

    def _attributes(self, entry: Entry) -> None:
        """Define the extended attributes of an entry."""
        for name, value in self._xattrs(entry):
            self._define(entry.path, attribute(name, value))

    def _xattrs(self, entry: Entry) -> Pairs:
        """Return the attributes of an entry: those of its inode, and those of its record."""
        if not self._keeps_xattrs:
            return ()
        inodes = entry.found.xattrs() if entry.found and entry.kind in "fd" else ()
        merged = {**dict(inodes), **dict(entry.record.xattrs)}
        found = tuple(pair for pair in sorted(merged.items()) if pair[0].startswith(_PREFIXES))
        has_user = entry.kind in "fd" and entry.record.kind not in PLACEHOLDERS
        for name, value in found:
            if not is_definable(name, value) or not (has_user or not name.startswith(_USER)):
                raise _Inexpressible
        return found

    def _define(self, path: bytes, words: bytes) -> None:
        if b"\n" in path:
            raise _Inexpressible
        self._defined[_parent(path)] += 1
        lines = [words[start : start + _LINE] for start in range(0, len(words), _LINE)]
        path = _SPECIAL.sub(rb"\\\g<0>", path)
        self._lines.append(b"%s %s\n" % (path, b"\\\n".join(lines)))

    def _exclude(self, path: bytes, found: Found) -> None:
        """Leave out a file; mksquashfs would leave out all of its names."""
        if found.status.st_nlink > 1 or b"\n" in path or len(self._excluded) == _EXCLUDED_LIMIT:
            raise _Inexpressible
        # mksquashfs removes a backslash in front, and looks at nothing else then.
        self._excluded.append(b"\\%s\n" % path)

    def _comparisons(self) -> int:
        """Return how often mksquashfs compares two names at most."""
        below, total = self._defined.copy(), 0
        for directory in sorted(self._sizes, reverse=True):  # children before their parents
            total += below[directory] * self._sizes[directory]
            if directory:
                below[_parent(directory)] += below[directory]
        return total


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _seconds(entry: Entry) -> int:
    """Return the time of an entry; no definition can change the time of a directory."""
    seconds = entry.mtime_ns // NANOSECONDS
    if not 0 <= seconds <= LATEST:
        raise _Inexpressible
    return seconds
