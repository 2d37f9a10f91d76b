"""Trees, and SquashFS files made of them by other programs."""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sundog.base.record.owners import OwnerRecord
from sundog.runtime.squashfs.image import SquashfsImage
from sundog.runtime.squashfs.walk import walk_paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sundog.runtime.squashfs.inode import Inode

COMPRESSORS = ("gzip", "lzma", "lzo", "xz", "lz4", "zstd")
# Of mksquashfs -pf: what an ordinary user can't make.
PSEUDO = """\
dev d 755 0 0
dev/null c 666 0 0 1 3
dev/disk b 660 0 6 259 70000
owned f 4755 1000 70000 echo owned
fifo i 600 5 6 f
socket i 600 5 6 s
"""


def make_tree(tree: Path) -> Path:
    """Make a tree of all that an ordinary user can make; return it."""
    rng = random.Random(1)
    tree.mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "small").write_text("small")
    (tree / "text").write_bytes(b"".join(b"line %d\n" % rng.randrange(99999) for _ in range(50000)))
    (tree / "noise").write_bytes(rng.randbytes(300_001))
    (tree / "exact").write_bytes(b"x" * (1 << 20))
    with open(tree / "sparse", "wb") as file:
        file.truncate(5_000_001)
        file.seek(2_500_000)
        file.write(b"amid")
    (tree / "holes").touch()
    os.truncate(tree / "holes", 3 << 20)
    (tree / "mode").write_text("mode")
    (tree / "mode").chmod(0o4711)
    os.utime(tree / "mode", (1_000_000_000, 1_000_000_000))
    os.link(tree / "small", tree / "second name")
    os.symlink("small", tree / "link")
    os.symlink("x/" * 2000, tree / "long link")
    os.setxattr(tree / "small", "user.colour", b"red")
    os.setxattr(tree / "text", "user.long", b"v" * 3000)
    os.setxattr(tree / "noise", "user.long", b"v" * 3000)
    os.setxattr(tree / "empty", "user.nothing", b"")
    (tree / "a" / "b" / "c").mkdir(parents=True)
    os.setxattr(tree / "a", "user.directory", b"yes")
    many = tree / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"a file of a rather long name, {number}").write_text(f"{number}")
    return tree


def mksquashfs(tree: Path, out: Path, *options: str) -> Path:
    """Make ``out`` of ``tree``; return it."""
    run(
        "mksquashfs", tree, out, "-noappend", "-quiet", "-no-progress", "-processors", "1", *options
    )
    return out


def run(*command: str | Path) -> str:
    """Run a program; return what it says."""
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def opened(path: Path, offset: int = 0) -> Iterator[SquashfsImage]:
    """Open a SquashFS file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield SquashfsImage(fd, offset)
    finally:
        os.close(fd)


def content(image: SquashfsImage, file: Inode, step: int = 1 << 17) -> bytes:
    """Return what ``file`` contains, read by ``step`` bytes."""
    parts = [b"".join(image.read(file, at, step)) for at in range(0, file.size, step)]
    assert all(len(part) == step for part in parts[:-1])
    return b"".join(parts)


def found(image: SquashfsImage) -> dict[str, Inode]:
    """Return all paths with their inodes; look each up from the root, too."""
    paths = {}
    for path, inode in walk_paths(image):
        at = image.root
        for name in path.split(b"/") if path else []:
            reference = image.lookup(image.inode(at), name)
            assert reference is not None, path
            at = reference
        assert at == inode.reference
        paths[os.fsdecode(path)] = inode
    return paths


def owner_records(image: SquashfsImage) -> Iterator[tuple[bytes, OwnerRecord]]:
    """Yield the paths that a user's own file could not be, and their records, but sockets."""
    for path, inode in walk_paths(image):
        if inode.kind == "s":
            continue
        xattrs = [pair for pair in image.xattrs(inode) if not pair[0].startswith(b"user.")]
        record = OwnerRecord(
            inode.kind, inode.uid, inode.gid, rdev=inode.rdev, xattrs=tuple(xattrs)
        )
        if not record.is_plain:
            yield path, record
