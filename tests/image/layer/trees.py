"""The contents of trees, to compare them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from hashlib import sha256

TYPES = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


@dataclass(frozen=True)
class Seen:
    """An entry.  ``same``: the first path of its inode; ``text``: its contents or target."""

    kind: str
    mode: int
    size: int
    text: bytes
    same: bytes
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...] = ()


def look(tree: bytes, *, times: bool = True) -> dict[bytes, Seen]:
    """Return the entries of ``tree`` by path; without ``times``, all times are 0."""
    found: dict[bytes, Seen] = {}
    first: dict[int, bytes] = {}
    paths = [b""]
    while paths:
        path = paths.pop(0)
        full = os.path.join(tree, path) if path else tree
        status = os.lstat(full)
        kind = TYPES[stat.S_IFMT(status.st_mode)]
        text, size = b"", status.st_size
        if kind == "f":
            with open(full, "rb") as opened:
                text = opened.read() if size < 1 << 20 else sha256(opened.read()).digest()
        elif kind == "l":
            text = os.readlink(full)
        elif kind == "d":
            size = 0
            paths += sorted(os.path.join(path, name) if path else name for name in os.listdir(full))
        xattrs: tuple[tuple[str, bytes], ...] = ()
        if kind in "fd":
            names = sorted(os.listxattr(full))
            xattrs = tuple((n, os.getxattr(full, n)) for n in names if n != "security.selinux")
        same = path if kind == "d" else first.setdefault(status.st_ino, path)
        mode = 0 if kind == "l" else stat.S_IMODE(status.st_mode)
        mtime = status.st_mtime_ns if times else 0
        found[path] = Seen(kind, mode, size, text, same, mtime, xattrs)
    return found


def listing(tree: bytes) -> dict[bytes, tuple[str, int, bytes]]:
    """Return kind, mode and text of each entry of ``tree``."""
    return {path: (seen.kind, seen.mode, seen.text) for path, seen in look(tree).items()}
