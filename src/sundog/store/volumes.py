"""The directories of VOLUME in images whose layers lack them: made when an image gets its name.

An image is read-only when it runs, so nothing could be mounted where it has no directory.  Builders
and registries leave it to whatever starts a container to make them; layers that came from elsewhere
stay as they are.  So they are made in what is an image's own: ``root/`` on top of its layers, or
its flattened tree.

Symlinks lead where they lead in the image.  Where something else is in the way, nothing is made.
"""

from __future__ import annotations

import errno
import os
import posixpath

from sundog.container.mountpoint import reserve_mount_point
from sundog.kernel.files import Closing
from sundog.kernel.process import Umask
from sundog.store.metadata import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_DIRECTORY_LIMIT = 1000  # for one image; a configuration is short, and what it names may be long


def volume_paths(volumes: Iterable[str]) -> list[bytes]:
    """Return the paths in the image, relative to its root, of the VOLUMEs of a configuration.

    The first of them, as far as they need few directories.
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
    """Make in the directory ``own`` what ``volumes`` lack in the directory ``image``.

    They may be the same directory.  This process may write to ``own`` whatever the modes are.
    """
    with Umask(0o022):
        for volume in volumes:
            try:
                reserve_mount_point(volume, image, own, is_directory=True)
            except OSError as error:
                if error.errno not in _NO_PLACE:
                    raise


def make_volumes_of_tree(volumes: Sequence[bytes], tree: bytes) -> None:
    """Make ``volumes`` in a flattened tree."""
    with Closing(os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        make_volumes(volumes, fd, fd)
