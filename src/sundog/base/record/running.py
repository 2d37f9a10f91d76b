"""``running/NODE/``: which images a node runs from a storage directory that nodes share.

``ch-run`` becomes the command of the container, so no process of it is left that could tell other
nodes that the container lives.  It notes beforehand which layers it mounts.  Other nodes keep what
is noted, for ``KEPT`` at most.  The node itself knows which of them it has mounted, and removes the
other notes once no start can rely on them.

A note is a symbolic link, because its text is there as soon as its name: the IDs of the layers, or
of the flattened tree, with commas.  Its name is a hash of the text.  So a node has one note of an
image, whatever the number of its containers, and most starts cost one look-up.

On a file system of one node there are no notes.
"""

from __future__ import annotations

import os
import time

from sundog.base.record.hashed import hashed

RUNNING_DIRECTORY = "running"
NOTE_FRESH = 3600  # seconds after which a start renews a note
KEPT = 7 * 86400  # seconds after which a note does not count


def note_run(storage: int, names: list[bytes]) -> None:
    """Note that this node is about to run an image of ``names`` from the directory ``storage``.

    Where this user can write nothing, there is no note.
    """
    text = b",".join(names)
    path = b"%b/%b" % (node_directory(), hashed(text))
    for is_last_try in (False, True):
        try:
            _renew(path, text, storage)
            return
        except FileNotFoundError:
            if is_last_try:
                return
            _make_directories(path, storage)
        except OSError:
            return


def _renew(path: bytes, text: bytes, storage: int) -> None:
    """Make the note ``path``, or make it new again if it is old."""
    try:
        age = time.time() - os.lstat(path, dir_fd=storage).st_mtime
    except FileNotFoundError:
        os.symlink(text, path, dir_fd=storage)
        return
    if age > NOTE_FRESH:
        os.utime(path, dir_fd=storage, follow_symlinks=False)


def _make_directories(path: bytes, storage: int) -> None:
    """Make ``running/`` and ``running/NODE/`` if they are not there, and if this user may."""
    node = os.path.dirname(path)
    for directory in (os.path.dirname(node), node):
        try:
            os.mkdir(directory, 0o700, dir_fd=storage)
        except OSError:
            continue


def node_directory(node: bytes | None = None) -> bytes:
    """Return the path, in the storage directory, of a node's notes; by default of this node."""
    name = os.fsencode(os.uname().nodename) if node is None else node
    return os.fsencode(RUNNING_DIRECTORY) + b"/" + name.replace(b"/", b"_")
