"""Write the members of a tar archive.  Equal members give equal bytes.

Format: ustar, with a pax header in front of a member that does not fit (POSIX.1-2024, pax).

Holes are written as zeros, since layer.md advises against sparse files, but only up to a bound.  A
file with larger holes is written as a sparse file of GNU tar (pax 1.0: GNU tar's manual, "PAX
Format, Version 1.0"), which libarchive, Go and Python read too.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Protocol

from sundog.errors import ArchiveError
from sundog.image.layer.below import SET_ID
from sundog.image.layer.bytecode import head_with_hash
from sundog.image.layer.header import BLOCK, NANOSECONDS, format_header
from sundog.image.layer.holes import data_extents, has_no_holes
from sundog.image.layer.names import check_no_mark, display, is_utf8
from sundog.image.layer.pax import format_records, format_time, xattr_record
from sundog.image.layer.sparse import Map, fitting_map, format_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.base.record.owners import OwnerRecord
    from sundog.image.layer.bytecode import Find
    from sundog.image.layer.xattrs import Pairs

_BUFFER_SIZE = 256 * 1024
_TYPEFLAGS = {"f": b"0", "h": b"1", "l": b"2", "c": b"3", "b": b"4", "d": b"5", "p": b"6"}
_NAME_SIZE = 100
_PREFIX_SIZE = 155
_ID_LIMIT = 0o7777777
_SIZE_LIMIT = 0o77777777777
ZEROS_WRITTEN = 1 << 30  # bytes of holes in one archive at most


class Sink(Protocol):
    """The destination of an archive: a file open for writing, or an object like one."""

    def write(self, data: bytes, /) -> int:
        """Write ``data``, or its beginning; return the number of bytes."""


class TarWriter:
    """An archive on its way to ``out``; call ``end`` at its end.

    No member is younger than ``mtime_clamp``, in seconds since 1970.  ``latest`` is the latest time
    that the reader of the archive can keep; such a reader can't keep a time before 1970 either.  At
    most ``zeros`` bytes of holes are written as zeros.  Without ``keeps_xattrs``, extended
    attributes are left out.  With ``is_flat``, the reader of the archive knows no whiteouts.  Its
    methods raise OSError, and ArchiveError for what an archive cannot hold.
    """

    def __init__(
        self,
        out: Sink,
        mtime_clamp: int | None = None,
        zeros: int = ZEROS_WRITTEN,
        *,
        hashes: bool = True,
        keeps_xattrs: bool = True,
        is_flat: bool = False,
        latest: int | None = None,
    ) -> None:
        self.dropped: list[bytes] = []  # the members that lost their set-id bits
        self.moved = 0  # members whose time the reader can't keep
        self._out = out
        self._hash = hashlib.sha256() if hashes else None
        self._parts: list[bytes] = []  # what has not been written yet, and its size
        self._size = 0
        self._mtime_limit = None if mtime_clamp is None else mtime_clamp * NANOSECONDS
        self._latest = None if latest is None else latest * NANOSECONDS
        self._zeros = zeros  # bytes that may still be written for holes
        self._keeps_xattrs = keeps_xattrs
        self._is_flat = is_flat

    def check_name(self, path: bytes) -> None:
        """Raise ArchiveError if the reader would take the file ``path`` for a whiteout."""
        if not self._is_flat:
            check_no_mark(path)

    def end(self) -> str:
        """Write the end of the archive; return the archive's digest, ``sha256:HEX``."""
        self._put(bytes(2 * BLOCK))
        self._flush()
        return "" if self._hash is None else "sha256:" + self._hash.hexdigest()

    def member(
        self,
        kind: str,
        name: bytes,
        status: os.stat_result,
        record: OwnerRecord,
        *,
        link: bytes = b"",
        xattrs: Pairs = (),
    ) -> None:
        """Write the header of a member without contents, with the mode and time of ``status``."""
        mode = stat.S_IMODE(status.st_mode)
        self.header(kind, name, mode, status.st_mtime_ns, record, link=link, xattrs=xattrs)

    def header(
        self,
        kind: str,
        name: bytes,
        mode: int,
        mtime_ns: int,
        record: OwnerRecord,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: Pairs = (),
        sparse: Map | None = None,
    ) -> None:
        """Write the header of a member, and in front of it a pax header for what does not fit.

        A member whose record is a guess loses its set-id bits, since it may be anybody's.
        """
        if record.guessed and mode & SET_ID:
            mode &= ~SET_ID
            self.dropped.append(name)
        pax: list[tuple[bytes, bytes]] = []
        if sparse is not None:
            pax += [
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.name", name),
                (b"GNU.sparse.realsize", b"%d" % size),
            ]
            size = len(format_map(sparse)) + sum(length for _, length in sparse)
            # The name for programs that don't know this format.
            name = b"GNUSparseFile.0/" + name.rpartition(b"/")[2][: _NAME_SIZE // 2]
        prefix, short_name = _split(name)
        if len(short_name) > _NAME_SIZE:
            pax.append((b"path", name))
        if len(link) > _NAME_SIZE:
            pax.append((b"linkpath", link))
        if not all(is_utf8(text) for _, text in pax):
            pax.insert(0, (b"hdrcharset", b"BINARY"))
        if size > _SIZE_LIMIT:
            pax.append((b"size", b"%d" % size))
        if record.uid > _ID_LIMIT:
            pax.append((b"uid", b"%d" % record.uid))
        if record.gid > _ID_LIMIT:
            pax.append((b"gid", b"%d" % record.gid))
        if self._mtime_limit is not None:
            mtime_ns = min(mtime_ns, self._mtime_limit)
        if self._latest is not None and not 0 <= mtime_ns < self._latest + NANOSECONDS:
            self.moved += 1
            mtime_ns = min(max(mtime_ns, 0), self._latest)
        mtime = mtime_ns // NANOSECONDS
        if mtime_ns % NANOSECONDS or not 0 <= mtime <= _SIZE_LIMIT:
            pax.append((b"mtime", format_time(mtime_ns)))
        if kind != "h" and self._keeps_xattrs:
            merged = {**dict(xattrs), **dict(record.xattrs)}
            pax += [xattr_record(*pair) for pair in sorted(merged.items())]
        if pax:
            data = format_records(pax)
            label = b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2]
            self._put(format_header(label[:_NAME_SIZE], typeflag=b"x", mode=0o644, size=len(data)))
            self._put(data)
            self._put(bytes(-len(data) % BLOCK))
        self._put(
            format_header(
                short_name[:_NAME_SIZE],
                typeflag=_TYPEFLAGS[kind],
                mode=mode,
                uid=record.uid if record.uid <= _ID_LIMIT else 0,
                gid=record.gid if record.gid <= _ID_LIMIT else 0,
                size=size if size <= _SIZE_LIMIT else 0,
                mtime=min(max(mtime, 0), _SIZE_LIMIT),
                link=link[:_NAME_SIZE],
                major=os.major(record.rdev),
                minor=os.minor(record.rdev),
                prefix=prefix,
            )
        )

    def file(
        self,
        path: bytes,
        file: int,
        status: os.stat_result,
        record: OwnerRecord,
        xattrs: Pairs = (),
        *,
        find: Find | None = None,
    ) -> None:
        """Write a regular file, as a sparse one if its holes are too large to write as zeros.

        ``find`` looks for the source of byte code, whose header may change.
        """
        size, sparse = status.st_size, None
        head = b""
        if self._mtime_limit is not None and find is not None and has_no_holes(status):
            head = head_with_hash(path, file, self._mtime_limit // NANOSECONDS, find)
        if not has_no_holes(status):
            extents = list(data_extents(file))
            holes = size - sum(length for _, length in extents)
            if holes > self._zeros:
                sparse = fitting_map(extents, size)
                if sparse is None:
                    raise ArchiveError(f"{display(path)} has more holes than an archive can hold")
            else:
                self._zeros -= holes
        mode = status.st_mode & 0o7777
        self.header(
            "f", path, mode, status.st_mtime_ns, record, size=size, xattrs=xattrs, sparse=sparse
        )
        stored = size
        if sparse is not None:
            self._put(format_map(sparse))
            stored = sum(length for _, length in sparse)
        if head:
            self._put(head)
        for start, length in [(len(head), size - len(head))] if sparse is None else sparse:
            self._data(file, start, start + length)
        self._put(bytes(-stored % BLOCK))

    def data(self, chunks: Iterable[bytes | memoryview], size: int) -> None:
        """Write the data of a member whose header says ``size``."""
        for chunk in chunks:
            self._put(chunk)
        self._put(bytes(-size % BLOCK))

    def _data(self, file: int, start: int, end: int) -> None:
        """Write the data of a file from ``start`` to ``end``."""
        while start < end:
            data = os.pread(file, min(end - start, _BUFFER_SIZE), start)
            if not data:
                raise OSError(errno.EIO, "a file of a layer has become shorter")
            self._put(data)
            start += len(data)

    def _put(self, data: bytes | memoryview) -> None:
        self._parts.append(bytes(data))  # a view's bytes may change
        self._size += len(data)
        if self._size >= _BUFFER_SIZE:
            self._flush()

    def _flush(self) -> None:
        # Do not change the sizes of the writes.  A compressor's output may depend on them, and
        # then digests would change.
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._hash is not None:
            self._hash.update(data)
        while data:
            data = data[self._out.write(data) :]  # a raw file may take less than all


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Split a name into prefix and name of a header; the name is too long if that is impossible."""
    if len(name) <= _NAME_SIZE:
        return b"", name
    slash = name.rfind(b"/", 0, min(_PREFIX_SIZE + 1, len(name) - 1))
    if slash <= 0 or len(name) - slash - 1 > _NAME_SIZE:
        return b"", name
    return name[:slash], name[slash + 1 :]
