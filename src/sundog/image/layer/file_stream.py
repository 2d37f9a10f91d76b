"""Files as a tar in a pipe, out of one directory tree and into another, for ``sundog cp``.

Both ends may be in a container, whose programs can change the tree meanwhile.  So every name is
looked up from a descriptor, without links: no link leads out of the tree, to /proc or to another
place in it.  Only the path that the user gives may lead through links.

The functions import nothing when they run, because the root directory may be an image's.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from contextlib import contextmanager
from itertools import islice

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)
from sundog.errors import KernelError, SundogError
from sundog.image.layer.holes import data_extents
from sundog.image.layer.sparse import fitting_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, Literal

    from sundog.image.layer.sparse import Map

NOTHING, FILE, DIRECTORY = "", "file", "directory"

_BLOCK = 1 << 16
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TOP = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MADE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE, _SET_ID = 0o7777, stat.S_ISUID | stat.S_ISGID
_EXTENTS_LIMIT = 1 << 18  # of a file; a file server of an image (FUSE) may know more
_ZEROS = 1 << 20  # bytes of holes that become zeros, which more programs can read
_LATEST = 1 << 62  # seconds: every file system has a nearer limit, and the kernel keeps to it
for _codec in ("ascii", "utf-8", "iso8859-1"):  # tarfile would look them up later
    "".encode(_codec)


def kind(path: bytes) -> str:
    """Return what ``path`` leads to: NOTHING, FILE or DIRECTORY.  Raises KernelError."""
    try:
        with Closing(_opened(path, os.O_PATH)) as fd:
            return DIRECTORY if stat.S_ISDIR(os.fstat(fd).st_mode) else FILE
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return NOTHING
        raise


def pack(path: bytes, name: bytes, out: int) -> None:
    """Write the file or directory ``path`` as a tar to ``out``, under ``name``.

    An empty ``name`` stands for the contents of a directory.  Sockets and devices are left out.
    Raises KernelError, OSError, and SundogError.
    """
    with (
        _bounded_depth(),
        open(out, "wb", closefd=False) as file,
        _tar(file, "w|") as tar,
        Closing(_opened(path, _TOP)) as top,
    ):
        status = os.fstat(top)
        if stat.S_ISREG(status.st_mode):
            _pack_file(tar, os.dup(top), _info(name, status))
        elif stat.S_ISDIR(status.st_mode):
            if name:
                tar.addfile(_info(name, status))
            _pack_directory(tar, top, name + b"/" if name else b"", {})
        else:
            raise SundogError(f"{printable(path)}: neither a file nor a directory")


def _pack_directory(
    tar: tarfile.TarFile, directory: int, prefix: bytes, links: dict[tuple[int, int], bytes]
) -> None:
    for entry in sorted(map(os.fsencode, os.listdir(directory))):
        try:
            status = os.lstat(entry, dir_fd=directory)
        except FileNotFoundError:
            continue  # it has just gone
        name = prefix + entry
        if stat.S_ISDIR(status.st_mode):
            try:
                fd = openat2(directory, entry, _LISTED, _BENEATH)
            except KernelError as error:
                raise _unreadable(name, error) from None
            with Closing(fd):
                tar.addfile(_info(name, os.fstat(fd)))
                _pack_directory(tar, fd, name + b"/", links)
        else:
            _pack_entry(tar, directory, entry, name, links, status=status)


def _pack_entry(
    tar: tarfile.TarFile,
    directory: int,
    entry: bytes,
    name: bytes,
    links: dict[tuple[int, int], bytes],
    *,
    status: os.stat_result,
) -> None:
    """Write a file, a link or a FIFO."""
    info = _info(name, status)
    if stat.S_ISREG(status.st_mode):
        first = links.setdefault((status.st_dev, status.st_ino), name)
        if first != name and status.st_nlink > 1:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, os.fsdecode(first), 0
            tar.addfile(info)
            return
        try:
            fd = openat2(directory, entry, _READ, _BENEATH)
        except KernelError as error:
            raise _unreadable(name, error) from None
        _pack_file(tar, fd, info)
    elif stat.S_ISLNK(status.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.fsdecode(os.readlink(entry, dir_fd=directory))
        tar.addfile(info)
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
        tar.addfile(info)


def _pack_file(tar: tarfile.TarFile, fd: int, info: tarfile.TarInfo) -> None:
    """Write a file and close it; one with large holes as a sparse file of pax 0.1.

    Only this format has the map in the header: tarfile loses its place in pax 1.0 after 8 GiB.
    """
    with Closing(fd):
        size = os.fstat(fd).st_size
        extents = list(islice(data_extents(fd), _EXTENTS_LIMIT + 1))
        if size - sum(length for _, length in extents) <= _ZEROS:
            entries = [(0, size)]
        elif len(extents) <= _EXTENTS_LIMIT and (found := fitting_map(extents, size)) is not None:
            entries = found
            info.pax_headers = {
                "GNU.sparse.name": info.name,
                "GNU.sparse.size": str(size),
                "GNU.sparse.numblocks": str(len(entries)),
                "GNU.sparse.map": ",".join(str(number) for entry in entries for number in entry),
            }
        else:
            name = printable(os.fsencode(info.name))
            raise SundogError(f"{name} has more holes than a tar can hold")
        info.size = sum(length for _, length in entries)
        tar.addfile(info, _Stored(fd, entries))


class _Stored:
    """The ``entries`` of the file ``fd``, one after the other, to read."""

    __slots__ = ("_fd", "_left", "_place")

    def __init__(self, fd: int, entries: Map) -> None:
        self._fd = fd
        self._left = entries[::-1]
        self._place = 0  # in the last of those that are left

    def read(self, size: int = _BLOCK, /) -> bytes:
        """Return so many bytes, or fewer if the file has become shorter."""
        data = bytearray()
        while self._left and len(data) < size:
            start, length = self._left[-1]
            most = min(size - len(data), length - self._place)
            block = os.pread(self._fd, most, start + self._place)
            if most and not block:
                break
            data += block
            self._place += len(block)
            if self._place == length:
                self._left.pop()
                self._place = 0
        return bytes(data)


def unpack(path: bytes, source: int, *, overwrite: bool, keep_set_id: bool) -> None:
    """Unpack the tar ``source``, a descriptor, into the directory ``path``.

    A file takes the place of a file.  With ``overwrite``, it takes the place of a directory, too,
    if that is empty, and a directory that of a file.  Raises KernelError, OSError and SundogError.
    """
    modes: list[tuple[bytes, int, int]] = []
    with (
        _bounded_depth(),
        Closing(_opened(path, os.O_PATH | os.O_DIRECTORY)) as top,
        open(source, "rb", closefd=False) as file,
    ):
        try:
            with _tar(file, "r|") as tar:
                for member in tar:
                    name = _relative(member.name)
                    mode = member.mode & (_MODE if keep_set_id else _MODE & ~_SET_ID)
                    if name:
                        _make(top, name, member, tar, mode, overwrite=overwrite)
                    if name and member.isdir():
                        modes.append((name, mode, _time(member)))
        except (tarfile.TarError, ValueError, OverflowError) as error:  # what tarfile lets through
            raise SundogError(
                f"not a tar: {error}", "cp reads a tar that is not compressed"
            ) from None
        for name, mode, mtime in reversed(modes):
            with Closing(openat2(top, name, _LISTED, _BENEATH)) as fd:
                os.fchmod(fd, mode)
                os.utime(fd, (mtime, mtime))
        while os.read(source, _BLOCK):  # whoever writes it may write more
            pass


def _make(
    top: int,
    name: bytes,
    member: tarfile.TarInfo,
    tar: tarfile.TarFile,
    mode: int,
    *,
    overwrite: bool,
) -> None:
    parent, _, base = name.rpartition(b"/")
    with Closing(_parent(top, parent)) as directory:
        try:
            found = os.lstat(base, dir_fd=directory).st_mode
        except FileNotFoundError:
            found = 0
        if member.isdir():
            if found and not stat.S_ISDIR(found):
                _refuse_unless(overwrite, name, "a file is in the place of a directory")
                os.unlink(base, dir_fd=directory)
                found = 0
            if not found:
                os.mkdir(base, 0o700, dir_fd=directory)
            return
        if stat.S_ISDIR(found):
            _refuse_unless(overwrite, name, "a directory is in the place of a file")
            os.rmdir(base, dir_fd=directory)
        elif found:
            os.unlink(base, dir_fd=directory)
        if member.issym():
            os.symlink(os.fsencode(member.linkname), base, dir_fd=directory)
        elif member.islnk():
            linked = _relative(member.linkname)
            above, _, old = linked.rpartition(b"/")
            with Closing(_parent(top, above)) as other:
                os.link(old, base, src_dir_fd=other, dst_dir_fd=directory, follow_symlinks=False)
        elif member.isfifo():
            os.mkfifo(base, mode, dir_fd=directory)
        elif member.isreg():
            with open(os.open(base, _MADE, 0o600, dir_fd=directory), "wb") as file:
                _write_data(file, member, tar)
                os.fchmod(file.fileno(), mode)
                os.utime(file.fileno(), (_time(member), _time(member)))
        # A device belongs to nobody here.


def _write_data(file: BinaryIO, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    """Write the data of a member.  A hole stays one: it takes no room, and no time."""
    sparse: Any = member.sparse  # a list of pairs, which typeshed does not know
    entries: Map = [(0, member.size)] if sparse is None else sparse
    if sparse is not None:
        told = [member.pax_headers.get(f"GNU.sparse.{name}") for name in ("realsize", "size")]
        member.size = next((int(text) for text in told if text), member.size)
    stored = tar.fileobj
    assert stored is not None
    stored.seek(member.offset_data)
    end = 0
    for start, length in entries:
        if not end <= start <= start + length <= member.size:
            raise ValueError("a member's map of holes is damaged")
        end = start + length
        for place in range(start, end, _BLOCK):
            wanted = min(_BLOCK, end - place)
            block = stored.read(wanted)
            if len(block) < wanted:
                raise tarfile.ReadError("unexpected end of data")
            if block.count(0) < wanted:
                file.seek(place)
                file.write(block)
    file.truncate(member.size)


def _time(member: tarfile.TarInfo) -> int:
    """Return the time of a member in seconds.  Raises ValueError and OverflowError."""
    return max(-_LATEST, min(int(member.mtime), _LATEST))


@contextmanager
def _bounded_depth() -> Iterator[None]:
    """Give directories in one another a bound: that of Python's own stack."""
    try:
        yield
    except RecursionError:
        raise SundogError("directories are nested too deeply for cp") from None


def _refuse_unless(allowed: bool, name: bytes, why: str) -> None:
    if not allowed:
        raise SundogError(f"{printable(name)}: {why}", "sundog cp --overwrite")


def _parent(top: int, path: bytes) -> int:
    """Return the directory ``path`` below ``top``; make what is missing of it."""
    try:
        return openat2(top, path or b".", _LISTED, _BENEATH)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    above, _, name = path.rpartition(b"/")
    with Closing(_parent(top, above)) as directory:
        os.mkdir(name, 0o755, dir_fd=directory)
        return openat2(directory, name, _LISTED, _BENEATH)


def _relative(name: str) -> bytes:
    """Return the path of a member below the directory; b"" for the directory itself."""
    parts = [part for part in os.fsencode(name).split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise SundogError(f"a path in the tar leads up: {printable(os.fsencode(name))}")
    return b"/".join(parts)


def _opened(path: bytes, flags: int) -> int:
    """Open a path that the user has given; links in it are followed, but none of /proc."""
    return openat2(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS)


def _info(name: bytes, status: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(os.fsdecode(name))
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = int(status.st_mtime)
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    return info


def _tar(file: BinaryIO, mode: Literal["r|", "w|"]) -> tarfile.TarFile:
    return tarfile.open(
        fileobj=file,
        mode=mode,
        encoding="utf-8",
        errors="surrogateescape",
        format=tarfile.PAX_FORMAT,
    )


def _unreadable(name: bytes, error: KernelError) -> SundogError:
    return SundogError(f"can't read {printable(name)}: {os.strerror(error.errno)}")
