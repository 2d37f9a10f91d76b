"""``layouts/``: which image in the storage directory is that of a layout or an archive.

A record is a small file.  It has the path, the tag, the machine and the state of the layout, and
after them the name of the image.  A record holds only for exactly this state: the inode, size and
times of ``index.json``, or of the archive.  So a start that finds its record reads no archive.

A record may lead to an image that the user has deleted.  Its reader must check that.
"""

from __future__ import annotations

import os

KNOWN_LAYOUTS = b"layouts"
LAYOUT_RECORD_LIMIT = 16384  # in bytes: a path, a tag and a name
_LAYOUT_TAG_PART = 80  # bytes of the tag in the name of the record
_LAYOUT_FIELD_END = b"\0"
_IN_PLACE = b".in-place"


class KnownLayout:
    """The image ``tag`` of a layout or an archive in its present state.

    ``in_place``: its layers stay there.  ``inode`` and ``changed`` (in ns) are those of the file
    that decides.  ``place`` is the record's path below the storage directory.
    """

    __slots__ = ("_text", "changed", "inode", "place")

    def __init__(self, path: bytes, tag: bytes, *, in_place: bool = False) -> None:
        """Look at the layout or archive ``path``, an absolute path.  Raises OSError."""
        try:
            status = os.stat(path + b"/index.json")
        except NotADirectoryError:
            status = os.stat(path)
        machine = os.uname().machine.encode()  # an image may be for several machines
        self.inode = status.st_ino
        self.changed = status.st_ctime_ns
        name = b"%d.%b.%b" % (self.inode, machine, tag.hex().encode()[:_LAYOUT_TAG_PART])
        if in_place:
            name += _IN_PLACE
        self.place = KNOWN_LAYOUTS + b"/" + name
        state = b"%d %d %d" % (status.st_size, status.st_mtime_ns, self.changed)
        self._text = _LAYOUT_FIELD_END.join([path, tag, machine, b"%d" % self.inode, state, b""])

    def pack(self, image: str) -> bytes:
        """Return the record that leads to the image with the canonical name ``image``."""
        return self._text + image.encode()

    def unpack(self, record: bytes) -> str | None:
        """Return the name of the image if ``record`` is of this layout in this state."""
        if not record.startswith(self._text):
            return None
        name = record[len(self._text) :]
        return name.decode() if name.isascii() else None


def name_of_record(record: bytes) -> str:
    """Return the name to which a record leads, whatever layout it is of."""
    return record.rpartition(_LAYOUT_FIELD_END)[2].decode("ascii", "replace")
