"""The files of a layer whose owners nobody saw: the mark ``guessed``.

``--force=seccomp``, ``fakeroot`` and ``none`` record no owners.  So nobody knows to whom a RUN gave
the files that it made.  ``stack`` has one letter for each layer of an image:

* OWNERS_KNOWN: there are no such files
* OWNERS_GUESSED: a RUN without records made the layer, so that all of its files are such
* OWNERS_LISTED: the layer has the list of them in ``ch/guessed``, which ``ch-convert`` makes when
  it makes one layer of many

OWNERS_LOST in place of the letters says that the image has such files, and that nobody knows which:
it came by a format or a program that dropped the mark.

Format of the list: the line ``sundog-guessed 1``, then ``+path NUL`` or ``-path NUL`` for each
mark, in order of path.  A mark is about the path and all that is below, down to the next mark.  The
word ``?`` alone is OWNERS_LOST.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.mounts import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

OWNERS_KNOWN, OWNERS_GUESSED, OWNERS_LISTED, OWNERS_LOST = b"-", b"g", b"l", b"?"

GUESSES = b"ch/guessed"
GUESSES_MAGIC = b"sundog-guessed 1\n"
LOST_GUESSES = GUESSES_MAGIC + OWNERS_LOST + b"\0"  # the list of an image whose marks are lost
GUESSES_LIMIT = 16 << 20  # bytes; the list may come from an image


class Guesses:
    """Marks by path; a path is relative to the tree's root, which is b"".

    The mark of a path counts for all that is below, down to the next mark.  ``is_lost`` tells that
    the marks of the image are lost.
    """

    __slots__ = ("_marks", "is_lost")

    def __init__(self, marks: Mapping[bytes, bool], *, is_lost: bool = False) -> None:
        self._marks = marks
        self.is_lost = is_lost

    def has(self, path: bytes) -> bool:
        """Tell whether the owner of ``path`` is guessed."""
        marks = self._marks
        while path not in marks:
            if not path:
                return False
            path = path.rpartition(b"/")[0]
        return marks[path]


def pack_guesses(marks: Mapping[bytes, bool]) -> bytes:
    """Return the bytes of the list that has ``marks``; a list that is too long is LOST_GUESSES."""
    data = GUESSES_MAGIC + b"".join(
        b"%b%b\0" % (b"+" if marks[path] else b"-", path) for path in sorted(marks)
    )
    return data if len(data) <= GUESSES_LIMIT else LOST_GUESSES


def unpack_guesses(data: bytes) -> Guesses:
    """Return what ``pack_guesses`` packed into ``data``; no marks if it is something else."""
    *words, end = data.removeprefix(GUESSES_MAGIC).split(b"\0")
    if not data.startswith(GUESSES_MAGIC) or end:
        return Guesses({})
    return Guesses({word[1:]: word[:1] == b"+" for word in words}, is_lost=words == [OWNERS_LOST])


def open_guesses(tree: bytes) -> int:
    """Return a descriptor of the list in the directory ``tree``, -1 if there is none.

    The image may have anything in its place; a symbolic link, a mount or a FIFO counts as none.
    Raises OSError.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
    with Closing(os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        return open_regular(root, GUESSES, resolve)


def read_guesses(fd: int) -> Guesses:
    """Return the marks of the list in the open file ``fd``; close the file.  Raises OSError."""
    with open(fd, "rb") as file:
        data = file.read(GUESSES_LIMIT + 1)
    return Guesses({}) if len(data) > GUESSES_LIMIT else unpack_guesses(data)


def listed_guesses(tree: bytes) -> bytes:
    """Return the letter of a layer whose marks only its own list in ``tree`` can have."""
    return OWNERS_LISTED if os.access(tree + b"/" + GUESSES, os.F_OK) else OWNERS_KNOWN


def guesses_of(tree: bytes, letter: bytes) -> Guesses | None:
    """Return the marks of a layer with the files ``tree``, None if it has none.  Raises OSError."""
    if letter == OWNERS_GUESSED:
        return Guesses({b"": True})
    fd = open_guesses(tree) if letter == OWNERS_LISTED else -1
    return None if fd < 0 else read_guesses(fd)
