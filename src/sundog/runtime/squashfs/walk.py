"""Walk through all paths of a SquashFS file."""

from __future__ import annotations

from sundog.base.kernel.libc import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.runtime.squashfs.image import SquashfsImage
    from sundog.runtime.squashfs.inode import Inode

_PATH_LIMIT = 4095  # PATH_MAX without the NUL
_DIRECTORIES_LIMIT = 1 << 20


def walk_paths(image: SquashfsImage) -> Iterator[tuple[bytes, Inode]]:
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
            if len(path) > _PATH_LIMIT:
                raise image.damaged(f"a path is too long: {printable(path)}")
            yield path, inode
            if inode.kind == "d":
                if reference in seen:
                    raise image.damaged(f"a second name of a directory, {printable(path)}")
                if len(seen) >= _DIRECTORIES_LIMIT:
                    raise image.damaged(f"over {_DIRECTORIES_LIMIT:,} directories")
                seen.add(reference)
                # Only one directory's entries are in memory at a time.
                way += [(prefix, directory, following), (path + b"/", inode, 0)]
                break
