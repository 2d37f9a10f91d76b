"""``layers/ID/links``: which files of a layer's manifest may have several names.

An overlay gives such a file another inode number when it copies it up, so a supervisor has to care
for these files.  It learns from this list that it need not look at the others.

Format: the line ``sundog-links 1``, then ``path NUL`` for each path, sorted.  A layer of an earlier
version has no such file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LINKS_MAGIC = b"sundog-links 1\n"


def pack_links(paths: Iterable[bytes]) -> bytes:
    """Return the bytes of the file that lists ``paths``."""
    return _LINKS_MAGIC + b"".join(b"%s\0" % path for path in sorted(paths))


def read_links(path: bytes) -> frozenset[bytes] | None:
    """Read the list in the file ``path``; None if it is missing, or damaged, so nothing is known.

    Raises OSError.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    *paths, end = data.removeprefix(_LINKS_MAGIC).split(b"\0")
    if not data.startswith(_LINKS_MAGIC) or end:
        return None
    return frozenset(paths)
