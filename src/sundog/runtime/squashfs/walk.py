"""Walk through a SquashFS file, and say what a user's own inodes could not show of it."""

from sundog.base.kernel.libc import printable
from sundog.base.record.owners import OwnerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.runtime.squashfs.image import SquashfsImage
    from sundog.runtime.squashfs.inode import Inode

LONGEST_PATH = 4095  # PATH_MAX without the NUL
MOST_DIRECTORIES = 1 << 20
USERS_XATTRS = b"user."


def walk_paths(image: "SquashfsImage") -> "Iterator[tuple[bytes, Inode]]":
    """Yield each path and its inode: the root as b"", a directory before what it has.

    The names of a directory are in order of their bytes.  Names of one file yield inodes of one
    reference.  Raises SquashfsError if a directory has two names, which could be a cycle, if a path
    is longer than PATH_MAX, or if there are more than a million directories; and as ``entries``
    does.
    """
    root = image.inode(image.root)
    yield b"", root
    seen = {image.root}
    # For each directory on the way: its path with a slash, itself, and the position to go on from.
    way = [(b"", root, 0)]
    while way:
        prefix, directory, start = way.pop()
        for name, reference, _, following in image.entries(directory, start):
            path, inode = prefix + name, image.inode(reference)
            if len(path) > LONGEST_PATH:
                raise image.damaged(f"a path is too long: {printable(path)}")
            yield path, inode
            if inode.kind == "d":
                if reference in seen:
                    raise image.damaged(f"a second name of a directory, {printable(path)}")
                if len(seen) >= MOST_DIRECTORIES:
                    raise image.damaged(f"over {MOST_DIRECTORIES:,} directories")
                seen.add(reference)
                # Only one directory's entries are in memory at a time.
                way += [(prefix, directory, following), (path + b"/", inode, 0)]
                break


def owner_records(image: "SquashfsImage") -> "Iterator[tuple[bytes, OwnerRecord]]":
    """Yield the paths that a user's own file could not be, and what they are.

    These are owners other than 0:0, devices, and extended attributes other than ``user.*``.
    A path is relative to the root, as in a manifest of owners.  Sockets have no record.  Raises
    SquashfsError.
    """
    for path, inode in walk_paths(image):
        if inode.kind == "s":
            continue
        xattrs = [pair for pair in image.xattrs(inode) if not pair[0].startswith(USERS_XATTRS)]
        record = OwnerRecord(
            inode.kind, inode.uid, inode.gid, rdev=inode.rdev, xattrs=tuple(xattrs)
        )
        if not record.is_plain:
            yield path, record
