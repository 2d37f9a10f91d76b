"""Packages and an index for Alpine's apk, written with Python's tarfile.

Format: the "v2" packages of apk-tools (wiki page "Apk spec"): two gzip members, control and data;
the control tar has no end-of-archive blocks, so that both read as one tar. The packages are not
signed: apk needs --allow-untrusted. This module writes the owners of a package's files into tar
headers, so it needs no privilege for a package that needs privilege to install.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME = 1_600_000_000


@dataclass(frozen=True)
class Entry:
    """One file (or, without data, directory) of a package."""

    path: str
    uid: int
    gid: int
    mode: int
    data: bytes | None


@dataclass(frozen=True)
class Package:
    """A package's name and what it holds."""

    name: str
    version: str
    description: str
    entries: Sequence[Entry]

    @property
    def file_name(self) -> str:
        """Return the name that apk looks for in a repository."""
        return f"{self.name}-{self.version}.apk"


def pack(package: Package, architecture: str) -> tuple[bytes, str]:
    """Return a package's bytes and its record in the index."""
    data = _gzip(_tar(package.entries, checksums=True))
    size = sum(len(entry.data or b"") for entry in package.entries)
    info = {
        "pkgname": package.name,
        "pkgver": package.version,
        "pkgdesc": package.description,
        "url": "https://example.org/",
        "builddate": str(TIME),
        "size": str(size),
        "arch": architecture,
        "license": "Public-Domain",
        "datahash": hashlib.sha256(data).hexdigest(),
    }
    text = "".join(f"{key} = {value}\n" for key, value in info.items())
    control = _gzip(_tar([Entry(".PKGINFO", 0, 0, 0o644, text.encode())], end=False))
    identity = base64.b64encode(hashlib.sha1(control).digest()).decode()
    record = (
        f"C:Q1{identity}\nP:{package.name}\nV:{package.version}\nA:{architecture}\n"
        f"S:{len(control) + len(data)}\nI:{size}\nT:{package.description}\n"
        f"U:{info['url']}\nL:{info['license']}\n\n"
    )
    return control + data, record


def index(records: Sequence[str]) -> bytes:
    """Return the bytes of a repository's APKINDEX.tar.gz."""
    entries = [
        Entry("DESCRIPTION", 0, 0, 0o644, b"packages made for Sundog"),
        Entry("APKINDEX", 0, 0, 0o644, "".join(records).encode()),
    ]
    return _gzip(_tar(entries))


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _tar(entries: Sequence[Entry], *, checksums: bool = False, end: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            header = tarfile.TarInfo(entry.path)
            header.uid, header.gid, header.mode, header.mtime = (
                entry.uid,
                entry.gid,
                entry.mode,
                TIME,
            )
            if entry.data is None:
                header.type = tarfile.DIRTYPE
            else:
                header.size = len(entry.data)
                if checksums:
                    digest = hashlib.sha1(entry.data).hexdigest()
                    header.pax_headers = {"APK-TOOLS.checksum.SHA1": digest}
            tar.addfile(header, io.BytesIO(entry.data or b""))
        length = tar.offset
    return buffer.getvalue() if end else buffer.getvalue()[:length]
