"""Walk through the directories of a tree in a fixed order."""

from __future__ import annotations

import os
import stat

from sundog.image.layer.names import NAME_LIMIT, PATH_LIMIT, check_length, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sundog.image.layer.directories import Directories

Entries = list[tuple[bytes, os.stat_result]]


def walk(
    directories: Directories, on_error: Callable[[bytes, OSError], None] | None = None
) -> Iterator[tuple[bytes, int, Entries]]:
    """Yield each directory: its path, a descriptor, its entries with lstat(2) in order of name.

    A directory comes before its subdirectories.  For an unreadable one, call ``on_error`` and leave
    it out; without ``on_error``, raise OSError.  Raises ArchiveError for a path that is too long
    for any program.
    """
    ahead = [b""]
    while ahead:
        path = ahead.pop()
        try:
            fd = directories.open(path)
            entries = list_directory(fd)
        except OSError as error:
            if on_error is None:
                raise
            on_error(path, error)
            continue
        if len(path) + NAME_LIMIT >= PATH_LIMIT:
            for name, _ in entries:
                check_length(joined(path, name))
        yield path, fd, entries
        ahead += [
            joined(path, name) for name, status in reversed(entries) if stat.S_ISDIR(status.st_mode)
        ]


def list_directory(fd: int) -> Entries:
    """Return the entries of the directory ``fd`` with their lstat(2), in order of name."""
    names = sorted(os.fsencode(name) for name in os.listdir(fd))
    return [(name, os.lstat(name, dir_fd=fd)) for name in names]
