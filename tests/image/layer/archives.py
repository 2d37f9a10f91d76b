"""Archives for tests: ordinary ones by the standard library, hostile ones byte by byte.

A name is bytes, or a ``str`` in Latin-1, which can stand for any bytes.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field

MTIME = 1_600_000_000
TYPES = {
    "f": tarfile.REGTYPE,
    "d": tarfile.DIRTYPE,
    "l": tarfile.SYMTYPE,
    "h": tarfile.LNKTYPE,
    "c": tarfile.CHRTYPE,
    "b": tarfile.BLKTYPE,
    "p": tarfile.FIFOTYPE,
}


@dataclass(frozen=True)
class Entry:
    name: str | bytes
    kind: str = "f"
    data: bytes = b"x\n"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    mtime: int = MTIME
    link: str | bytes = ""
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)


def file(name: str | bytes, data: bytes = b"x\n", **fields: object) -> Entry:
    return Entry(name, "f", data, **fields)  # type: ignore[arg-type]


def directory(name: str | bytes, **fields: object) -> Entry:
    return Entry(name, "d", **fields)  # type: ignore[arg-type]


def symlink(name: str | bytes, to: str | bytes, **fields: object) -> Entry:
    return Entry(name, "l", link=to, **fields)  # type: ignore[arg-type]


def hard_link(name: str | bytes, to: str | bytes, **fields: object) -> Entry:
    return Entry(name, "h", link=to, **fields)  # type: ignore[arg-type]


def archive(*entries: Entry, format: int = tarfile.PAX_FORMAT, **options: object) -> io.BytesIO:  # noqa: A002
    """Return the tar that Python's tarfile makes of ``entries``, in order."""
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in entries:
            info = tarfile.TarInfo(_text(entry.name))
            info.type = TYPES[entry.kind]
            default = {"d": 0o755, "l": 0o777}.get(entry.kind, 0o644)
            info.mode = default if entry.mode is None else entry.mode
            info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime
            info.linkname = _text(entry.link)
            info.devmajor, info.devminor = entry.device
            info.pax_headers = dict(entry.pax)
            info.size = len(entry.data) if entry.kind == "f" else 0
            tar.addfile(info, io.BytesIO(entry.data))
    out.seek(0)
    return out


def raw_header(
    name: bytes,
    *,
    typeflag: bytes = b"0",
    size: bytes = b"00000000000\0",
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    major: bytes = b"0000000\0",
    minor: bytes = b"0000000\0",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """Return a header of just these fields; without ``checksum`` it gets the right one."""
    block = bytearray(512)
    for offset, value in (
        (0, name),
        (100, mode),
        (108, uid),
        (116, gid),
        (124, size),
        (136, mtime),
        (148, b" " * 8),
        (156, typeflag),
        (157, link),
        (257, magic),
        (329, major),
        (337, minor),
        (345, prefix),
    ):
        block[offset : offset + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def raw_archive(*parts: bytes) -> io.BytesIO:
    """Return headers and data, each padded to whole blocks, and the end of an archive."""
    padded = (part + bytes(-len(part) % 512) for part in parts)
    return io.BytesIO(b"".join(padded) + bytes(1024))


def pax_header(*records: tuple[bytes, bytes], typeflag: bytes = b"x") -> bytes:
    """Return an extended header with these records."""
    data = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length = len(b"%d" % length) + len(rest)
        data += b"%d" % length + rest
    header = raw_header(b"pax", typeflag=typeflag, size=b"%011o\0" % len(data))
    return header + data + bytes(-len(data) % 512)


def _text(name: str | bytes) -> str:
    raw = name if isinstance(name, bytes) else name.encode("latin-1")
    return raw.decode("utf-8", "surrogateescape")
