"""Read the entries of a tree: from a directory as root, or from the tars of layers.

The tars are read with Python's tarfile, not with Sundog's own reader.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Nothing is compared here: while a container runs, these files are not the image's.
OUTSIDE = frozenset({"proc", "sys", "dev", "run", "tmp"})
XATTR = "SCHILY.xattr."
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
}
TAR_TYPES = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}


@dataclass(frozen=True)
class Entry:
    """All that an install decides about a path except the content.

    ``xattrs``: extended attributes, capabilities and access control lists among them.
    """

    type: str
    mode: int
    uid: int
    gid: int
    device: tuple[int, int] | None = None
    target: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        words = [self.type, f"{self.mode:04o}", f"{self.uid}:{self.gid}"]
        if self.device:
            words.append("{}:{}".format(*self.device))
        words += [f"-> {self.target}"] * bool(self.target)
        words += [f"{name}={value}" for name, value in self.xattrs]
        return " ".join(words)


@dataclass
class View:
    """All entries by path, and for each file with several names the set of its names.

    An entry is what one way of looking shows of a path.  Equal entries have equal texts.
    """

    entries: dict[str, Entry | str] = field(default_factory=dict)
    links: dict[str, frozenset[str]] = field(default_factory=dict)


def is_outside(path: str) -> bool:
    """Tell whether a path, relative to the root, is left out of the comparison."""
    return path.partition("/")[0] in OUTSIDE


def of_directory(root: Path) -> View:
    """Read a tree as root sees it, without sockets, which no archive can hold."""
    view = View()
    names: dict[tuple[int, int], set[str]] = defaultdict(set)
    top = os.fspath(root)
    for path in (".", *_walk(top)):
        location = os.path.join(top, path)
        status = os.lstat(location)
        if stat.S_ISSOCK(status.st_mode):
            continue
        view.entries[path] = _entry(location, status)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            names[status.st_dev, status.st_ino].add(path)
    view.links = grouped(names.values())
    return view


def _walk(top: str) -> Iterator[str]:
    for directory, directories, files in os.walk(top):
        below = os.path.relpath(directory, top)
        relative = [os.path.normpath(os.path.join(below, name)) for name in directories + files]
        yield from (path for path in relative if not is_outside(path))
        if below == ".":
            directories[:] = [name for name in directories if name not in OUTSIDE]


def _entry(location: str, status: os.stat_result) -> Entry:
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    xattrs = (
        (name, os.getxattr(location, name, follow_symlinks=False).hex())
        for name in os.listxattr(location, follow_symlinks=False)
    )
    return Entry(
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        device if kind.endswith("device") else None,
        os.readlink(location) if kind == "symlink" else "",
        tuple(sorted(xattrs)),
    )


def grouped(sets: Iterable[Iterable[str]]) -> dict[str, frozenset[str]]:
    """Return each set of more than one name, by each of its names."""
    groups = [frozenset(names) for names in sets]
    return {path: names for names in groups for path in names if len(names) > 1}


def of_layers(tars: Iterable[Path], *, everything: bool = False) -> tuple[View, frozenset[str]]:
    """Read the tree that an image's layers, bottom first, make, and the paths of the last layer.

    Without ``everything``, the tree lacks the paths that are never compared.  Hard links are those
    within one layer (OCI image-spec, layer.md).
    """
    view, last = View(), frozenset[str]()
    for archive in tars:
        with tarfile.open(archive) as tar:
            last = _apply(view, tar)
    for path in [path for path in view.entries if is_outside(path) and not everything]:
        del view.entries[path]
    return view, last


def _apply(view: View, tar: tarfile.TarFile) -> frozenset[str]:
    """Put a layer over the tree; whiteouts and opaque marks hide only entries of lower layers."""
    new: dict[str, Entry] = {}
    first: dict[str, str] = {}
    for member in tar:
        path = os.path.normpath(member.name)
        directory, name = os.path.split(path)
        if name == OPAQUE:
            _forget(view, directory, itself=False)
        elif name.startswith(WHITEOUT):
            _forget(view, os.path.join(directory, name[len(WHITEOUT) :]), itself=True)
        elif member.islnk():
            origin = os.path.normpath(member.linkname)
            first[path] = first.get(origin, origin)
            new[path] = new[origin]
        else:
            new[path] = _member(member)
    for path, entry in new.items():
        old = view.entries.get(path)
        if isinstance(old, Entry) and old.type == "directory" != entry.type:
            _forget(view, path, itself=True)
        view.entries[path] = entry
        view.links.pop(path, None)
    names: dict[str, set[str]] = defaultdict(set)
    for path, origin in first.items():
        names[origin] |= {origin, path}
    view.links |= grouped(names.values())
    return frozenset(new)


def _forget(view: View, top: str, *, itself: bool) -> None:
    for path in [path for path in view.entries if path.startswith(f"{top}/")]:
        del view.entries[path]
        view.links.pop(path, None)
    if itself:
        view.entries.pop(top, None)
        view.links.pop(top, None)


def _member(member: tarfile.TarInfo) -> Entry:
    kind = TAR_TYPES[member.type]
    xattrs = (
        (key.removeprefix(XATTR), value.encode("utf-8", "surrogateescape").hex())
        for key, value in member.pax_headers.items()
        if key.startswith(XATTR)
    )
    return Entry(
        kind,
        member.mode,
        member.uid,
        member.gid,
        (member.devmajor, member.devminor) if kind.endswith("device") else None,
        member.linkname if kind == "symlink" else "",
        tuple(sorted(xattrs)),
    )
