"""A tar of a whole image in normal form, member by member: for programs that read only that.

A tar can have several members of one name, whiteouts, links to what comes later, and names through
symlinks.  Only unpacking tells what it means then.  ``survey`` finds out whether an archive is free
of all that, from its headers; most are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.limits import Meter
from sundog.image.layer.names import WHITEOUT, normalised
from sundog.image.layer.tar import TarReader
from sundog.image.layer.unpack import TOP_DIRECTORIES
from sundog.image.layer.xattrs import recordable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.header import Member
    from sundog.image.layer.tar_writer import TarWriter

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts that the headers of an archive tell.

    is_normal   whether its members can be read one by one, and need no unpacking
    top         the directory that wraps the image, b"" if none does
    """

    is_normal: bool
    top: bytes
    mode: int = 0o755  # of the root directory, and so are the rest
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0


def survey(raw: BinaryIO) -> Survey:
    """Read all headers of the archive in ``raw``, perhaps compressed.  Raises ArchiveError."""
    meter = Meter()
    reader = TarReader(open_decompressed(raw, meter))
    kinds: dict[bytes, str] = {}
    tops: set[bytes] = set()
    members: dict[bytes, Member] = {}  # of the directories at the top, which may be the root
    first_mtime = None
    is_normal = True
    for member in reader:
        path = normalised(member.name)
        meter.entry(len(path))
        if first_mtime is None:
            first_mtime = member.mtime_ns
        if not path or (member.kind == "d" and b"/" not in path):
            members[path] = member
        tops.add(path.partition(b"/")[0])
        parent = path.rpartition(b"/")[0]
        is_normal &= (
            path not in kinds
            and (path != b"" or member.kind == "d")
            and b"/" + WHITEOUT not in b"/" + path
            and not reader.holes
            and (not parent or kinds.get(parent) == "d")
        )
        if member.kind == "h":
            is_normal &= kinds.get(normalised(member.link)) not in (None, "d", "h")
        kinds[path] = member.kind
    tops.discard(b"")
    top = b""
    if len(tops) == 1:
        (only,) = tops
        if only not in TOP_DIRECTORIES and kinds.get(only) == "d":
            top = only
    root = members.get(top)
    if root is None:
        return Survey(is_normal, top, mtime_ns=first_mtime or 0)
    return Survey(is_normal, top, root.mode, root.uid, root.gid, root.mtime_ns)


def write_normal(archive: TarWriter, raw: BinaryIO, survey: Survey) -> None:
    """Write the members of the archive in ``raw``, which ``survey`` has called normal."""
    meter = Meter()
    reader = TarReader(open_decompressed(raw, meter))
    top = survey.top
    root = OwnerRecord("d", survey.uid, survey.gid)
    archive.header("d", b"./", survey.mode, survey.mtime_ns, root)
    for member in reader:
        path = _below(normalised(member.name), top)
        if not path:
            continue
        record = OwnerRecord(
            "f" if member.kind == "h" else member.kind,
            member.uid,
            member.gid,
            rdev=os.makedev(member.major, member.minor) if member.kind in "cb" else 0,
            xattrs=recordable(member.xattrs.items()),
        )
        name, link, size = path, member.link, 0
        if member.kind == "d":
            name = path + b"/"
        elif member.kind == "h":
            link = _below(normalised(member.link), top) or b""
        elif member.kind == "f":
            size = member.size
        archive.header(
            member.kind, name, member.mode, member.mtime_ns, record, size=size, link=link
        )
        if size:
            archive.data(reader.read_data(_CHUNK), size)


def _below(path: bytes, top: bytes) -> bytes | None:
    """Return ``path`` relative to ``top``; None for what is above it."""
    if not top:
        return path
    if path == top:
        return b""
    return path.removeprefix(top + b"/") if path.startswith(top + b"/") else None
