"""The directories of VOLUME that an image's layers lack; they are made when the image is written.

An image is read-only when it runs, so a VOLUME without a directory could not be mounted.  Other
builders leave these directories to the program that starts the container, and layers from elsewhere
must not change.  So Sundog makes them in the image's own part: in ``root/`` on top of its layers,
or in its flattened tree.

Symlinks are followed as in the image.  Where something else is in the way, nothing is made.
"""

from __future__ import annotations

import errno
import os
import posixpath

from sundog.base.kernel.files import Closing
from sundog.base.kernel.process import Umask
from sundog.image.store.metadata import encoded
from sundog.runtime.container.mountpoint import MountPoint, reserve_mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_DIRECTORY_LIMIT = 1000  # of one image: a short configuration can name very deep directories


def volume_paths(volumes: Iterable[str]) -> list[bytes]:
    """Return the paths of a configuration's VOLUMEs, relative to the root of the image.

    Stops at the first one that exceeds the limit of directories.
    """
    found: dict[bytes, None] = {}
    count = 0
    for volume in volumes:
        path = encoded(posixpath.normpath(f"/{volume}").strip("/"))
        count += path.count(b"/") + 1
        if count > _DIRECTORY_LIMIT:
            break
        if path and b"\0" not in path:
            found[path] = None
    return list(found)


def make_volumes(volumes: Sequence[bytes], image: int, own: int) -> None:
    """Make those of ``volumes`` that the directory ``image`` lacks in the directory ``own``.

    Both may be the same directory.  The calling process can write to ``own``, whatever its mode.
    """
    with Umask(0o022):
        for volume in volumes:
            try:
                reserve_mount_point(MountPoint(volume, is_directory=True), image, own)
            except OSError as error:
                if error.errno not in _NO_PLACE:
                    raise


def make_volumes_of_tree(volumes: Sequence[bytes], tree: bytes) -> None:
    """Make ``volumes`` in a flattened tree."""
    with Closing(os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        make_volumes(volumes, fd, fd)
