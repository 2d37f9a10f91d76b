"""The entries of a whole image: those that show in its layers, and those that are added.

There are no whiteouts.  Directories are in order of path, and parents come before their children.
What is added comes last.  The same image gives the same entries.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.below import kind_of
from sundog.image.layer.names import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sundog.image.layer.below import Below, Found

    # By path; parents come first.
    Added = Mapping[bytes, "Addition"]

DIRECTORY_MODE, FILE_MODE, PROGRAM_MODE, LINK_MODE = 0o755, 0o644, 0o755, 0o777


@dataclass(frozen=True, slots=True)
class Addition:
    """A file, a directory or a symlink that is added to an image.

    kind    as in a record: "f", "d" or "l"
    content that of a file; the target of a symlink
    """

    kind: str
    mode: int
    content: bytes = b""

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a directory."""
        return self.kind == "d"


DIRECTORY = Addition("d", DIRECTORY_MODE)


def file_of(content: bytes) -> Addition:
    """Return the file with this content."""
    return Addition("f", FILE_MODE, content)


def program_of(content: bytes) -> Addition:
    """Return the file with this content that can be executed."""
    return Addition("f", PROGRAM_MODE, content)


def link_to(target: bytes) -> Addition:
    """Return the symlink to ``target``."""
    return Addition("l", LINK_MODE, target)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a whole image.

    kind    the kind of its inode, as in a record; "" for a socket
    record  its record, or a plain one
    found   where it is in the layers; None for what is added
    content the contents of an added file; the target of an added symlink
    first   the first entry's path, if it is one file with an earlier entry
    """

    path: bytes
    kind: str
    mode: int
    mtime_ns: int
    record: OwnerRecord
    found: Found | None = None
    content: bytes = b""
    first: bytes | None = None


def image_entries(view: Below, added: Added) -> Iterator[Entry]:
    """Yield the entries of an image: what shows in ``view``, and ``added`` on top of that.

    The root comes first, also of an image without layers.  A directory that the layers have is left
    as it is.  The time of what is added is the root's.  Raises OSError.
    """
    plain = {kind: OwnerRecord(kind) for kind in ("f", "d", "l", "p", "")}
    linked: dict[tuple[int, int], bytes] = {}  # inodes with several names → the first
    root = view.lookup(b"")
    mtime_ns = root.status.st_mtime_ns if root else 0
    if root is None:
        yield Entry(b"", "d", DIRECTORY_MODE, mtime_ns, plain["d"])
    ahead = [(b"", root)] if root else []
    added = _possible(view, added)
    while ahead:
        path, found = ahead.pop()
        yield _entry(path, "d", found, found.record or plain["d"])
        below = []
        for name, one in view.entries(path):
            child = joined(path, name)
            if child in added:
                continue  # what is added takes its place
            if one.is_directory:
                below.append((child, one))
                continue
            kind = kind_of(one.status.st_mode)
            first = None
            if one.status.st_nlink > 1 and kind:
                first = linked.setdefault((one.root, one.status.st_ino), child)
            record = one.record or plain[kind]
            yield _entry(child, kind, one, record, None if first == child else first)
        ahead += reversed(below)
    for path, new in added.items():
        yield Entry(path, new.kind, new.mode, mtime_ns, plain[new.kind], content=new.content)


def _entry(
    path: bytes, kind: str, found: Found, record: OwnerRecord, first: bytes | None = None
) -> Entry:
    return Entry(path, kind, found.mode, found.status.st_mtime_ns, record, found, first=first)


def _possible(view: Below, added: Added) -> Added:
    """Return what is added in places where the layers have nothing else in the way."""
    possible: dict[bytes, Addition] = {}
    blocked: set[bytes] = set()
    for path, addition in added.items():
        found = view.lookup(path)
        if path.rpartition(b"/")[0] in blocked:
            blocked.add(path)
        elif found is not None and (addition.is_directory or found.is_directory):
            if not found.is_directory:
                blocked.add(path)
        else:
            possible[path] = addition
    return possible
