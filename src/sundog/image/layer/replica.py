"""A copy of a whole directory, equal in all but owners: names, data, modes, times, attributes.

Unlike ``flatten``, this takes no entry for a mark: whiteouts and attributes of overlayfs are copied
as they are.
"""

from __future__ import annotations

import os
import stat

from sundog.errors import StoreError
from sundog.image.layer.copying import Copier
from sundog.image.layer.directories import Directories
from sundog.image.layer.names import joined
from sundog.image.layer.walk import list_directory
from sundog.image.layer.xattrs import entry_path, get_xattrs, overlay_xattrs, set_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def copy_exactly(source: bytes, target: bytes, emptied: Collection[bytes] = ()) -> None:
    """Copy what is in the directory ``source`` into the empty directory ``target``.

    The directories ``emptied``, by their paths in ``source``, are made without their contents.
    Nobody changes ``source`` meanwhile.  Raises OSError, and StoreError if the file system of
    ``target`` can't keep an attribute.
    """
    copier = Copier()
    linked: dict[tuple[int, int], bytes] = {}  # inodes with several names → the first copy
    made: list[bytes] = []
    with Directories(source) as old, Directories(target) as new:
        ahead = [b""]
        while ahead:
            path = ahead.pop()
            made.append(path)
            for name, status in () if path in emptied else list_directory(old.open(path)):
                child = joined(path, name)
                fd = new.open(path)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(name, 0o700, dir_fd=fd)
                    ahead.append(child)
                    continue
                first = linked.setdefault((status.st_dev, status.st_ino), child)
                if status.st_nlink > 1 and first != child:
                    parent, _, first_name = first.rpartition(b"/")
                    os.link(
                        first_name,
                        name,
                        src_dir_fd=new.open(parent),
                        dst_dir_fd=new.open(path),
                        follow_symlinks=False,
                    )
                    continue
                before = old.open(path)
                left = copier.copy(before, name, status, fd, name)
                marks = overlay_xattrs(entry_path(before, name))
                _check(child, left, _set_marks(entry_path(fd, name), marks))
        for path in reversed(made):
            before, fd = old.open(path), new.open(path)
            status = os.fstat(before)
            left = set_xattrs(fd, get_xattrs(before))
            _check(path, left, _set_marks(fd, overlay_xattrs(before)))
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _set_marks(file: int | bytes, marks: dict[bytes, bytes]) -> list[bytes]:
    """Set attributes of overlayfs; return those that the file system can't keep."""
    left = []
    for name, value in marks.items():
        try:
            os.setxattr(file, name, value, follow_symlinks=isinstance(file, int))
        except OSError:
            left.append(name)
    return left


def _check(path: bytes, *left: Collection[object]) -> None:
    if any(left):
        shown = os.fsdecode(path)
        raise StoreError(f"can't copy the extended attributes of {shown!r}", "choose another place")
