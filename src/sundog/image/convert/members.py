"""The files of a layout or an archive, by name.

A tar archive is read once, from front to back, so it may be a pipe, and compressed.  Its files are
put aside under numbers: no name in the archive ever becomes a path.  A link leads to another
member: ``docker save`` wrote links for equal layers.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from dataclasses import dataclass, field
from typing import Protocol

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import RESOLVE_BENEATH, openat2
from sundog.errors import ArchiveError, KernelError
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.holes import SECTOR
from sundog.image.layer.limits import Meter
from sundog.image.layer.names import display
from sundog.image.layer.tar import TarReader
from sundog.image.oci.verified import VerifiedReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.store import Store

_LINKS = 8  # at most so many links lead from one to the next


class FileStream:
    """The bytes of a file from ``offset`` on: a ``transfer.fetch.Stream``."""

    def __init__(self, fd: int, offset: int, host: str) -> None:
        self.offset = offset
        self.host = host
        self._fd = fd
        os.lseek(fd, offset, os.SEEK_SET)

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end."""
        return os.read(self._fd, size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Members(Protocol):
    """Regular files by name."""

    @property
    def source(self) -> str:
        """The user's name for the layout or archive."""

    @property
    def meter(self) -> Meter:
        """The meter that counts what they cost."""

    @property
    def is_counted(self) -> bool:
        """Tell whether the meter has counted their bytes; if not, it counts what is read."""

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""

    def open(self, name: str) -> int:
        """Return a descriptor of a file, to be closed; raise ArchiveError when there is none."""


def read_member(
    members: Members, name: str, limit: int, expected: Descriptor | None = None
) -> bytes:
    """Return all bytes of a small file.

    Raises ArchiveError when the file is missing or longer than ``limit``, ContentMismatch when it
    is not the blob that is ``expected``.
    """
    fd = members.open(name)
    with open(fd, "rb") as file:
        if expected is None:
            content = file.read(limit + 1)
            size = len(content)
        else:
            size = expected.size
            content = VerifiedReader.of_blob(file, expected).read_all() if size <= limit else b""
    if size > limit:
        raise ArchiveError(f"{shown(name)} is longer than {limit} bytes")
    members.meter.document(len(content))
    return content


def shown(name: str) -> str:
    """Return a name for one line of a message."""
    try:
        return display(os.fsencode(name))
    except UnicodeEncodeError:  # JSON can contain lone surrogates
        return display(name.encode("utf-8", "backslashreplace"))


@dataclass(frozen=True)
class DirectoryMembers:
    """The files below a directory; a link that leads out of it is an error."""

    source: str
    path: bytes
    meter: Meter = field(default_factory=Meter)
    is_counted: bool = False

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        try:
            os.close(self.open(name))
        except ArchiveError:
            return False
        return True

    def open(self, name: str) -> int:
        """Return a descriptor of a file, to be closed; raise ArchiveError when there is none."""
        with Closing(os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            try:
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                fd = openat2(root, os.fsencode(name), flags, RESOLVE_BENEATH)
            except (UnicodeEncodeError, ValueError) as error:  # not a possible file name
                raise _lacking(name) from error
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    raise _lacking(name) from error
                reason = os.strerror(error.errno).lower()
                hint = "you need permission to read all files of a layout"
                raise ArchiveError(f"{shown(name)} cannot be read: {reason}", hint) from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError(f"{shown(name)} is not a regular file")
            # No compression is that good: the file has holes, and its zeros are about to be read.
            if status.st_size > status.st_blocks * SECTOR * self.meter.limits.ratio:
                self.meter.unpacked(status.st_size)
        except ArchiveError:
            os.close(fd)
            raise
        return fd


class ArchiveMembers:
    """The files of a tar archive, put aside in a directory of the store."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.meter = Meter()
        self.is_counted = True
        self._files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}

    @classmethod
    def read(cls, store: Store, raw: BinaryIO, source: str) -> ArchiveMembers:
        """Read the archive ``raw``, perhaps compressed, to its end; raise ArchiveError."""
        members = cls(source)
        with store.faults:
            place = store.scratch.new()
            reader = TarReader(open_decompressed(raw, members.meter))
            try:
                for number, member in enumerate(reader):
                    members.meter.entry(len(member.name) + len(member.link))
                    members.meter.unpacked(reader.holes)  # their zeros will be read
                    name = _normalised(os.fsdecode(member.name))
                    if member.kind == "f":
                        path = os.path.join(place, b"%d" % number)
                        with Closing(
                            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                        ) as fd:
                            reader.copy_data(fd)
                        members._files[name] = path
                        members._links.pop(name, None)
                    elif member.kind in "hl":
                        link = os.fsdecode(member.link)
                        base = posixpath.dirname(name) if member.kind == "l" else ""
                        members._links[name] = _normalised(posixpath.join(base, link))
            except ArchiveError as error:
                raise ArchiveError(f"{reader.place}: {error.message}", error.hint) from error
        members.meter.counts_input = False  # the archive's bytes have been counted
        return members

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return self._path(name) is not None

    def open(self, name: str) -> int:
        """Return a descriptor of a file, to be closed; raise ArchiveError when there is none."""
        path = self._path(name)
        if path is None:
            raise _lacking(name)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _path(self, name: str) -> bytes | None:
        name = _normalised(name)
        for _ in range(_LINKS):
            if name in self._files:
                return self._files[name]
            if name not in self._links:
                break
            name = self._links[name]
        return None


def _normalised(name: str) -> str:
    return posixpath.normpath(posixpath.join("/", name)).lstrip("/")


def _lacking(name: str) -> ArchiveError:
    return ArchiveError(f"{shown(name)} is not there")
