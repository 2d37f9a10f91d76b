"""The layers of a store that are files, as one file system of FUSE: a directory for each.

A layer is opened when the kernel looks up its ID, which an overlay does when it is mounted.  From
then on, its files are open, so that a collection of garbage can't take them away.

The index is ours and rules: names, modes, times, whiteouts, opaque marks and attributes come from
it, and the contents alone from the layer file.  A node's number is the layer and the position in
its index, so the server remembers nothing of what the kernel knows.

All inodes belong to the user of the container, as in ``files``.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import allocate_lock
from sundog.base.kernel.files import open_regular
from sundog.base.kernel.modes import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from sundog.base.record.layer_index import INDEX_OPAQUE, IndexEntry, LayerIndex
from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_FILE, LAYER_INDEX, LAYER_SPANS
from sundog.base.record.lazy_layer import LAYER_HERE, LAYER_REFUSED
from sundog.base.record.stack import ID_LENGTH
from sundog.errors import StoreError
from sundog.runtime.fuse.blob import FileBlob
from sundog.runtime.fuse.files import NO_ENTRY, init_reply, is_entry_name, packed_dirent, sized
from sundog.runtime.fuse.layer_contents import open_contents
from sundog.runtime.fuse.protocol import (
    ATTR_OUT,
    ATTRIBUTES,
    ENTRY_OUT,
    GETATTR,
    GETXATTR,
    INIT,
    LISTXATTR,
    LOOKUP,
    NAME_MAX,
    READ,
    READ_IN,
    READDIR,
    READDIRPLUS,
    READLINK,
    ROOT_ID,
    STATFS,
    STATFS_OUT,
    XATTR,
)
from sundog.runtime.fuse.waiting import about_to_wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from mmap import mmap

    from sundog.runtime.fuse.blob import Blob
    from sundog.runtime.fuse.files import Buffers, Handler
    from sundog.runtime.fuse.layer_contents import LayerContents
    from sundog.runtime.fuse.read_order import ReadOrder

_LAYERS_LIMIT = 512  # overlayfs takes 500
_FOREVER = 1 << 30  # in seconds
_BLOCK = 1 << 17  # what programs read at once
_STATUS_BLOCK = 512
_WORD = (1 << 64) - 1
_OWN_ENTRIES = 2  # "." and ".."
_POSITION_BITS = 32
_POSITIONS = (1 << _POSITION_BITS) - 1
_PLAINLY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_OVERLAY_MARKS = b"user.overlay."
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE_XATTR = (b"user.overlay.opaque", b"y")
_DIGITS = frozenset(b"0123456789abcdef")
_POPULATED = 4 << 20  # bytes of an index that are read at once: 80,000 files
_MAP_POPULATE = 0x8000  # asm-generic/mman.h; the same on all machines but alpha and mips


class _OpenedLayer:
    """A layer: its index, mapped, and its contents; ``number`` is from 1 on.

    A file of SquashFS is held, but opened for the first read: many layers are never read, and on a
    file system of a cluster, an open is a request.
    """

    __slots__ = ("_contents", "_file", "_lock", "index", "number")

    def __init__(
        self,
        layers: int,
        name: bytes,
        number: int,
        lazy_blob: Callable[[bytes], Blob | None],
        *,
        order: ReadOrder | None,
    ) -> None:
        """Open the layer ``name`` in the directory ``layers``.

        ``lazy_blob`` returns the bytes of a layer that is not all here; ``order`` records what is
        read.  Raises SundogError and OSError.
        """
        self.number = number
        self.index = LayerIndex(_mapped(_opened(layers, name + LAYER_INDEX)))
        self._lock = allocate_lock()  # of the contents
        self._contents: LayerContents | None = None
        if self.index.squashfs_size:
            self._file = openat2(layers, name + LAYER_FILE, os.O_PATH | os.O_CLOEXEC, _PLAINLY)
            if os.fstat(self._file).st_size != self.index.squashfs_size:
                raise StoreError("damaged layer file: it has another size")
        else:
            blob = lazy_blob(name)
            chunks = open_regular(layers, name + LAYER_CHUNKS, _PLAINLY)
            spans = open_regular(layers, name + LAYER_SPANS, _PLAINLY) if chunks < 0 else -1
            self._file = _opened(layers, name + LAYER_FILE)
            if order is not None:
                blob = order.noted(name, blob or FileBlob(self._file))
            self._contents = open_contents(
                self._file,
                None if chunks < 0 else _mapped(chunks),
                blob,
                spans=None if spans < 0 else (spans, _mapped(os.dup(spans))),
            )

    def contents(self) -> LayerContents:
        """Return the contents of the files.  Raises SundogError and OSError."""
        if self._contents is not None:
            return self._contents
        about_to_wait()
        with self._lock:
            if self._contents is None:
                held = b"/proc/self/fd/%d" % self._file
                self._contents = open_contents(_opened(AT_FDCWD, held, resolve=0))
                os.close(self._file)
            return self._contents


def _mapped(fd: int) -> mmap | bytes:
    """Return the contents of an open file, which is then closed."""
    from mmap import MAP_SHARED, PROT_READ, mmap  # noqa: PLC0415 - only the server's process

    size = os.fstat(fd).st_size
    flags = MAP_SHARED | (_MAP_POPULATE if size <= _POPULATED else 0)
    data = mmap(fd, size, flags, PROT_READ) if size else b""
    os.close(fd)
    return data


def _opened(layers: int, path: bytes, resolve: int = _PLAINLY) -> int:
    fd = open_regular(layers, path, resolve)
    if fd < 0:
        raise OSError(errno.ENOENT, "no such file of a layer")
    return fd


class LayersFiles:
    """The files of layers in the directory ``layers``, an open one.

    They belong to ``uid`` and ``gid``, as numbers of the mount's user namespace.

    ``is_whole`` says that all layers have been looked up before an overlay asks for its marks.  If
    there are none, the kernel is told once, and asks no more: half of the requests of a start.
    ``open_lazy`` opens the blob of a layer that is not all here, in a directory, by its name;
    without it, such a layer is an error.  ``order`` records what is read.
    """

    def __init__(
        self,
        layers: int,
        uid: int,
        gid: int,
        *,
        is_whole: bool = False,
        open_lazy: Callable[[int, bytes], Blob] | None = None,
        order: ReadOrder | None = None,
    ) -> None:
        self._is_whole = is_whole
        self._open_lazy = open_lazy
        self._order = order
        self._is_closed = False  # to other layers
        self._layers = layers
        self._owner = (uid, gid)
        self._opened: list[_OpenedLayer] = []
        self._numbers: dict[bytes, int] = {}
        self._lock = allocate_lock()
        self.handlers: dict[int, Handler] = {
            READ: self._read,
            LOOKUP: self._lookup,
            GETATTR: self._getattr,
            READDIRPLUS: self._readdirplus,
            READDIR: self._readdir,
            READLINK: self._readlink,
            GETXATTR: self._getxattr,
            LISTXATTR: self._listxattr,
            STATFS: self._statfs,
            INIT: self._init,
        }

    def _init(self, _node: int, body: memoryview) -> Buffers:
        return init_reply(body, self.handlers)

    def _found(self, node: int) -> tuple[_OpenedLayer, IndexEntry]:
        """Return the layer and the entry of a node that is not the root."""
        layer = self._opened[(node >> _POSITION_BITS) - 1]
        return layer, layer.index.entry(node & _POSITIONS)

    def _attributes(self, layer: _OpenedLayer, entry: IndexEntry) -> bytes:
        is_measured = entry.mode & S_IFMT in (S_IFREG, S_IFLNK)
        size = entry.size if is_measured else 0
        time, part = entry.mtime & _WORD, entry.nanoseconds
        return ATTRIBUTES.pack(
            layer.number << _POSITION_BITS | entry.number,
            *(size, -(-size // _STATUS_BLOCK), time, time, time, part, part, part),
            *(entry.mode, entry.nlink, *self._owner, 0, _BLOCK, 0),
        )

    def _entry(self, layer: _OpenedLayer, entry: IndexEntry) -> bytes:
        """Return the struct fuse_entry_out of an entry."""
        node = layer.number << _POSITION_BITS | entry.number
        return ENTRY_OUT.pack(node, 0, _FOREVER, _FOREVER, 0, 0) + self._attributes(layer, entry)

    def _root_attributes(self) -> bytes:
        return ATTRIBUTES.pack(ROOT_ID, *(0,) * 8, S_IFDIR | 0o755, 2, *self._owner, 0, _BLOCK, 0)

    def _lookup(self, node: int, body: memoryview) -> Buffers:
        name = bytes(body[:-1])
        if len(name) > NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, "longer than a name can be")
        if node == ROOT_ID:
            return (self._lookup_layer(name),)
        layer, directory = self._found(node)
        if not directory.is_directory:
            raise OSError(errno.ENOTDIR, "no directory")
        entry = layer.index.lookup(directory, name) if is_entry_name(name) else None
        return (NO_ENTRY if entry is None else self._entry(layer, entry),)

    def _lookup_layer(self, name: bytes) -> bytes:
        """Return the entry of the root of a layer; open the layer if need be."""
        if not 0 < len(name) <= ID_LENGTH or not _DIGITS.issuperset(name):
            return NO_ENTRY
        with self._lock:
            number = self._numbers.get(name)
            if number is None:
                if self._is_closed:
                    raise OSError(errno.ENOENT, "no layer of this container")
                number = len(self._opened) + 1
                if number > _LAYERS_LIMIT:
                    raise OSError(errno.ENFILE, "too many layers")
                opened = _OpenedLayer(
                    self._layers, name, number, self._lazy_blob, order=self._order
                )
                self._opened.append(opened)
                self._numbers[name] = number
        layer = self._opened[number - 1]
        return self._entry(layer, layer.index.entry(0))

    def _lazy_blob(self, name: bytes) -> Blob | None:
        """Return the bytes of the layer ``name`` if it is not all here, else None."""
        directory = os.open(name, _OPEN_DIRECTORY, dir_fd=self._layers)
        refused, here = (
            open_regular(directory, file[1:], _PLAINLY) for file in (LAYER_REFUSED, LAYER_HERE)
        )
        for fd in (refused, here):
            if fd >= 0:
                os.close(fd)
        if refused >= 0:
            os.close(directory)
            raise OSError(errno.EIO, "the layer was checked, and is not what it should be")
        if here < 0:
            os.close(directory)
            return None
        if self._open_lazy is None:
            os.close(directory)
            raise OSError(errno.EIO, "the layer is not all here")
        return self._open_lazy(directory, name)

    def _getattr(self, node: int, _body: memoryview) -> Buffers:
        found = self._root_attributes() if node == ROOT_ID else self._attributes(*self._found(node))
        return ATTR_OUT.pack(_FOREVER, 0, 0), found

    def _readlink(self, node: int, _body: memoryview) -> Buffers:
        layer, entry = self._found(node)
        if entry.mode & S_IFMT != S_IFLNK:
            raise OSError(errno.EINVAL, "no symbolic link")
        return (layer.index.target(entry),)

    def _read(self, node: int, body: memoryview) -> Buffers:
        _, offset, size = READ_IN.unpack_from(body)
        layer, entry = self._found(node)
        if entry.mode & S_IFMT != S_IFREG or offset >= entry.size:
            return ()
        try:
            parts = layer.contents().read(entry.place, entry.size, offset, size)
        except OSError:
            # ENOENT and ESTALE of a file that another host removed would tell of the file read.
            raise OSError(errno.EIO, "the layer file can't be read") from None
        if sum(map(len, parts)) != min(size, entry.size - offset):
            raise OSError(errno.EIO, "a part of the file is missing")
        return parts

    def _readdir(self, node: int, body: memoryview) -> Buffers:
        return self._list(node, body, with_attributes=False)

    def _readdirplus(self, node: int, body: memoryview) -> Buffers:
        return self._list(node, body, with_attributes=True)

    def _list(self, node: int, body: memoryview, *, with_attributes: bool) -> Buffers:
        _, offset, size = READ_IN.unpack_from(body)
        found: list[bytes] = []
        for place, name in enumerate((b".", b"..")):
            if offset <= place:
                head = NO_ENTRY if with_attributes else b""
                found.append(head + packed_dirent(node, place + 1, S_IFDIR, name))
                size -= len(found[-1])
        start = max(offset - _OWN_ENTRIES, 0)
        for place, (layer, entry) in enumerate(self._listed(node, start), start + _OWN_ENTRIES + 1):
            if not is_entry_name(entry.name):
                continue
            number = layer.number << _POSITION_BITS | entry.number
            text = self._entry(layer, entry) if with_attributes else b""
            text += packed_dirent(number, place, entry.mode, entry.name)
            size -= len(text)
            if size < 0:
                break
            found.append(text)
        return (b"".join(found),)

    def _listed(self, node: int, start: int) -> Iterable[tuple[_OpenedLayer, IndexEntry]]:
        """Yield the entries of the directory ``node``; the root does not tell which layers it has.

        Programs of the container do not see the root.
        """
        if node == ROOT_ID:
            return
        layer, directory = self._found(node)
        if not directory.is_directory:
            raise OSError(errno.ENOTDIR, "no directory")
        for entry in layer.index.entries(directory, start):
            yield layer, entry

    def _xattrs(self, node: int) -> dict[bytes, bytes]:
        if node == ROOT_ID:
            return {}
        layer, entry = self._found(node)
        found = layer.index.xattrs(entry)
        if entry.flags & INDEX_OPAQUE:
            found.update([_OPAQUE_XATTR])
        return found

    def _getxattr(self, node: int, body: memoryview) -> Buffers:
        size, _ = XATTR.unpack_from(body)
        name = bytes(body[XATTR.size : -1])
        if self._is_whole and name.startswith(_OVERLAY_MARKS):
            self._is_closed = True
            if all(layer.index.is_plain for layer in self._opened):
                raise OSError(errno.ENOSYS, "there are no attributes")
        value = self._xattrs(node).get(name)
        if value is None:
            raise OSError(errno.ENODATA, "no such attribute")
        return sized(value, size)

    def _listxattr(self, node: int, body: memoryview) -> Buffers:
        size, _ = XATTR.unpack_from(body)
        return sized(b"".join(name + b"\0" for name in self._xattrs(node)), size)

    def _statfs(self, _node: int, _body: memoryview) -> Buffers:
        size, count = 0, 0
        for layer in self._opened:
            size += layer.index.size
            count += layer.index.count
        blocks = -(-size // _BLOCK)
        return (STATFS_OUT.pack(blocks, 0, 0, count, 0, _BLOCK, NAME_MAX, _BLOCK),)
