"""A SquashFS image as a file system of FUSE: answer the kernel's requests from the image.

The server keeps nothing for an inode that the kernel knows: a node's number is the reference of its
inode in the image.  So FORGET has no effect, and a million inodes cost the server no memory.

The file system is the same for all time.  So the kernel may keep entries, attributes and contents
as long as it likes, and asks once for each.

All inodes belong to the user of the container.  The kernel of an overlay could not copy up a file
of an owner whom the user namespace lacks.
"""

from __future__ import annotations

import errno
import os

from sundog.base.record.owners import DEVICE_KINDS
from sundog.errors import SundogError
from sundog.runtime.fuse.protocol import (
    ATTR_OUT,
    ATTRIBUTES,
    CACHE_DIR,
    DIRENT,
    ENTRY_OUT,
    FIRST_ID,
    GETATTR,
    GETXATTR,
    INIT,
    INIT_IN,
    INIT_OUT,
    KEEP_CACHE,
    LISTXATTR,
    LOOKUP,
    MAJOR,
    MINOR,
    NAME_MAX,
    NO_OPEN_SUPPORT,
    NO_OPENDIR_SUPPORT,
    OPEN,
    OPEN_OUT,
    OPENDIR,
    READ,
    READ_IN,
    READDIR,
    READDIRPLUS,
    READLINK,
    ROOT_ID,
    STATFS,
    STATFS_OUT,
    WANTED_FLAGS,
    XATTR,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.runtime.squashfs.image import SquashfsImage
    from sundog.runtime.squashfs.inode import Inode

    Buffers = Sequence[bytes | memoryview]
    Handler = Callable[[int, memoryview], Buffers]

_FOREVER = 1 << 30  # in seconds: how long the kernel may believe an answer
_READAHEAD = 1 << 20
_PAGES = 256  # of one request
_BACKGROUND = 64  # requests that the kernel may send ahead
_CONGESTED = 48
_WRITE_SIZE = 4096  # the least that the kernel takes; nothing is written

_FUSE_FILE_TYPES = {
    "f": 0o100000,
    "d": 0o040000,
    "l": 0o120000,
    "p": 0o010000,
    "s": 0o140000,
    # As in the store, an empty file takes the place of a device.
    "c": 0o100000,
    "b": 0o100000,
}
_MODE_BITS = 0o7777
_FILE_SIZE_LIMIT = (1 << 63) - 1
_STATUS_BLOCK = 512  # the unit of st_blocks

# The position of a directory's first entry of its own: 0 is ".", 1 is "..".
_OWN_ENTRIES = 2
NO_ENTRY = ENTRY_OUT.pack(0, 0, _FOREVER, 0, 0, 0) + bytes(ATTRIBUTES.size)

_SHOWN_XATTRS = b"user."
# The overlay on top of the image would obey these.
_HIDDEN_XATTRS = b"user.overlay."


def is_entry_name(name: bytes) -> bool:
    """Tell whether ``name`` can be that of a directory entry: a hostile image may have others."""
    return (
        0 < len(name) <= NAME_MAX
        and name not in (b".", b"..")
        and b"/" not in name
        and b"\0" not in name
    )


def init_reply(body: memoryview, handlers: dict[int, Handler]) -> Buffers:
    """Answer INIT.  For a kernel that needs it, add an answer to OPEN to the ``handlers``."""
    major, minor, readahead, offered = INIT_IN.unpack_from(body)
    if major != MAJOR:
        raise OSError(errno.EPROTO, "unknown protocol of FUSE")
    # Without an answer to OPEN, the kernel asks once, and keeps what it has read.  An older
    # kernel asks each time.
    if not offered & NO_OPEN_SUPPORT:
        handlers[OPEN] = _open
    if not offered & NO_OPENDIR_SUPPORT:
        handlers[OPENDIR] = _open
    reply = INIT_OUT.pack(
        *(MAJOR, min(minor, MINOR), max(readahead, _READAHEAD), offered & WANTED_FLAGS),
        *(_BACKGROUND, _CONGESTED, _WRITE_SIZE, 1, _PAGES, 0, 0),
    )
    return (reply,)


def _open(_node: int, _body: memoryview) -> Buffers:
    return (OPEN_OUT.pack(0, KEEP_CACHE | CACHE_DIR, 0),)


class ImageFiles:
    """The files of ``image``, a file of ``size`` bytes.

    They belong to ``uid`` and ``gid``, as numbers of the mount's user namespace.
    """

    def __init__(self, image: SquashfsImage, uid: int, gid: int, size: int) -> None:
        self._image = image
        self._owner = (uid, gid)
        self._size = size
        self.handlers: dict[int, Handler] = {
            READ: self._read,
            LOOKUP: self._lookup,
            GETATTR: self._getattr,
            READDIRPLUS: self._readdirplus,
            READDIR: self._readdir,
            READLINK: self._readlink,
            STATFS: self._statfs,
            INIT: self._init,
        }
        if image.has_xattrs:  # otherwise the kernel asks once
            self.handlers |= {GETXATTR: self._getxattr, LISTXATTR: self._listxattr}

    def _init(self, _node: int, body: memoryview) -> Buffers:
        return init_reply(body, self.handlers)

    def _inode(self, node: int) -> Inode:
        image = self._image
        return image.inode(image.root if node == ROOT_ID else node - FIRST_ID)

    def _attributes(self, inode: Inode) -> bytes:
        size = 0 if inode.kind in DEVICE_KINDS else inode.size
        if size > _FILE_SIZE_LIMIT:
            raise OSError(errno.EFBIG, "a longer file than Linux knows")
        time = inode.mtime
        return ATTRIBUTES.pack(
            *(inode.number, size, -(-size // _STATUS_BLOCK), time, time, time, 0, 0, 0),
            _FUSE_FILE_TYPES[inode.kind] | inode.mode & _MODE_BITS,
            *(inode.nlink, *self._owner, 0, self._image.block_size, 0),
        )

    def _entry(self, reference: int) -> bytes:
        """Return the struct fuse_entry_out of the inode."""
        image = self._image
        node = ROOT_ID if reference == image.root else reference + FIRST_ID
        attributes = self._attributes(image.inode(reference))
        return ENTRY_OUT.pack(node, 0, _FOREVER, _FOREVER, 0, 0) + attributes

    def _lookup(self, node: int, body: memoryview) -> Buffers:
        name = bytes(body[:-1])
        if len(name) > NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, "longer than a name can be")
        reference = self._image.lookup(self._inode(node), name) if is_entry_name(name) else None
        return (NO_ENTRY if reference is None else self._entry(reference),)

    def _getattr(self, node: int, _body: memoryview) -> Buffers:
        return ATTR_OUT.pack(_FOREVER, 0, 0), self._attributes(self._inode(node))

    def _readlink(self, node: int, _body: memoryview) -> Buffers:
        inode = self._inode(node)
        if inode.kind != "l":
            raise OSError(errno.EINVAL, "no symbolic link")
        return (inode.target,)

    def _read(self, node: int, body: memoryview) -> Buffers:
        _, offset, size = READ_IN.unpack_from(body)
        inode = self._inode(node)
        return self._image.read(inode, offset, size) if inode.kind == "f" else ()

    def _readdir(self, node: int, body: memoryview) -> Buffers:
        return self._list(node, body, with_attributes=False)

    def _readdirplus(self, node: int, body: memoryview) -> Buffers:
        return self._list(node, body, with_attributes=True)

    def _list(self, node: int, body: memoryview, *, with_attributes: bool) -> Buffers:
        _, offset, size = READ_IN.unpack_from(body)
        directory = self._inode(node)
        if directory.kind != "d":
            raise OSError(errno.ENOTDIR, "no directory")
        found: list[bytes] = []
        for place, name in enumerate((b".", b"..")):
            if offset <= place:
                entry = NO_ENTRY if with_attributes else b""
                found.append(
                    entry + packed_dirent(directory.number, place + 1, _FUSE_FILE_TYPES["d"], name)
                )
                size -= len(found[-1])
        start = max(offset - _OWN_ENTRIES, 0)
        image = self._image
        for name, reference, kind, following in image.entries(directory, start):
            if not is_entry_name(name):
                continue
            entry, number = b"", 0
            if with_attributes:
                try:
                    entry = self._entry(reference)
                    number = image.inode(reference).number
                except (SundogError, OSError):
                    # The kernel asks for this inode by itself, and gets the error.
                    entry = NO_ENTRY
            text = entry + packed_dirent(
                number, following + _OWN_ENTRIES, _FUSE_FILE_TYPES[kind], name
            )
            size -= len(text)
            if size < 0:
                break
            found.append(text)
        return (b"".join(found),)  # writev(2) takes no more than 1024 buffers

    def _xattrs(self, node: int) -> dict[bytes, bytes]:
        return {
            name: value
            for name, value in self._image.xattrs(self._inode(node))
            if name.startswith(_SHOWN_XATTRS) and not name.startswith(_HIDDEN_XATTRS)
        }

    def _getxattr(self, node: int, body: memoryview) -> Buffers:
        size, _ = XATTR.unpack_from(body)
        name = bytes(body[XATTR.size : -1])
        value = self._xattrs(node).get(name)
        if value is None:
            raise OSError(errno.ENODATA, "no such attribute")
        return sized(value, size)

    def _listxattr(self, node: int, body: memoryview) -> Buffers:
        size, _ = XATTR.unpack_from(body)
        names = b"".join(name + b"\0" for name in self._xattrs(node) if b"\0" not in name)
        return sized(names, size)

    def _statfs(self, _node: int, _body: memoryview) -> Buffers:
        image = self._image
        unit = image.block_size
        blocks = -(-self._size // unit)
        return (STATFS_OUT.pack(blocks, 0, 0, image.inode_count, 0, unit, NAME_MAX, unit),)


def packed_dirent(number: int, following: int, mode: int, name: bytes) -> bytes:
    """Return the struct fuse_dirent of an entry; ``following`` is the offset of the next one."""
    head = DIRENT.pack(number or 1, following, len(name), mode >> 12)
    return head + name + bytes(-len(name) % 8)


def sized(value: bytes, size: int) -> Buffers:
    """Answer a request for an extended attribute: ``value``, or its length if ``size`` is 0."""
    if not size:
        return (XATTR.pack(len(value), 0),)
    if len(value) > size:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return (value,)
