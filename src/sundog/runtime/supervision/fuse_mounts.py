"""The FUSE file systems that a mountinfo of proc(5) has, and those of the host among them."""

from __future__ import annotations

import os

from sundog.runtime.container.paths import OPEN_DIRECTORY

CONNECTIONS = b"/sys/fs/fuse/connections"
_FUSE_TYPES = (b"fuse", b"fuseblk")
_MOUNT_LIST_LIMIT = 1 << 26  # bytes


class HostMounts:
    """The mounts of the host, for which FUSE file systems are not the container's own.

    Make it before the process enters its namespaces.
    """

    __slots__ = ("_connections", "_mounts")

    def __init__(self) -> None:
        """Open what tells them.  Raises OSError."""
        # The kernel shows the mounts of the namespace in which the file was opened.
        self._mounts = os.open(b"/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._connections = os.open(CONNECTIONS, OPEN_DIRECTORY)
        except OSError:
            self._connections = -1

    def descriptors(self) -> tuple[int, ...]:
        """Return the open descriptors."""
        return tuple([fd for fd in (self._mounts, self._connections) if fd >= 0])

    def connections(self) -> set[int]:
        """Return the numbers of the connections that the host has mounted.  Raises OSError."""
        os.lseek(self._mounts, 0, 0)  # SEEK_SET: posix has no name for it
        return {number for number, _ in fuse_mounts(read_list(self._mounts))}

    def abort(self, number: int) -> bool:
        """Abort the connection ``number``; return False if this is not possible."""
        if self._connections < 0:
            return False
        try:
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(b"%d/abort" % number, flags, dir_fd=self._connections)
            os.write(fd, b"1")
            os.close(fd)
        except OSError:
            return False
        return True


def fuse_mounts(text: bytes) -> list[tuple[int, bytes]]:
    """Return the numbers of connections and the mount points in a file mountinfo of proc(5)."""
    found = []
    for line in text.split(b"\n"):
        fields, _, described = line.partition(b" - ")
        kind = described.partition(b" ")[0]
        if kind in _FUSE_TYPES or kind.startswith(b"fuse."):
            words = fields.split(b" ")
            found.append((int(words[2].partition(b":")[2]), unescaped(words[4])))
    return found


def unescaped(path: bytes) -> bytes:
    r"""Return a path of mountinfo without its escapes: three octal digits after a backslash."""
    text, *parts = path.split(b"\\")
    return text + b"".join([bytes([int(part[:3], 8)]) + part[3:] for part in parts])


def read_list(fd: int) -> bytes:
    """Return the rest of a file of /proc.  Raises OSError."""
    pieces, size = [], 0
    while (piece := os.read(fd, 1 << 16)) and size < _MOUNT_LIST_LIMIT:
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
