"""A root file system of static programs only: BusyBox and links to it, 2 MB, made at once."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from scripts.place import WorkshopError

NEEDS = ("busybox-static",)
PROGRAM = Path("/bin/busybox")
DIRECTORIES = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755, "root": 0o700,
    "srv": 0o755, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "var": 0o755,
}  # fmt: skip
FILES = {
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/os-release": "ID=busybox\nNAME=BusyBox\n",
    "etc/hosts": "",
    "etc/resolv.conf": "",
}
TIME = 1_600_000_000


def make(out: Path) -> None:
    """Write the tarball: entries owned by 0:0, dated alike, in one order."""
    if not PROGRAM.exists():
        raise WorkshopError(f"no {PROGRAM}\nhint: as root: apt-get install busybox-static")
    write(out, PROGRAM.read_bytes())


def write(out: Path, program: bytes) -> None:
    """Write the tarball with a ``program`` that has the applets of this machine's."""
    applets = subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True)
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in DIRECTORIES.items():
            _add(tar, name, tarfile.DIRTYPE, mode)
        _add(tar, "bin/busybox", tarfile.REGTYPE, 0o755, data=program)
        for applet in sorted(set(applets.stdout.split()) - {"busybox"}):
            _add(tar, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        _add(tar, "usr/bin", tarfile.SYMTYPE, 0o777, link="../bin")
        for name, text in FILES.items():
            _add(tar, name, tarfile.REGTYPE, 0o644, data=text.encode())


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes, mode: int, *, data: bytes = b"", link: str = ""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, link
    entry.size, entry.mtime = len(data), TIME
    tar.addfile(entry, io.BytesIO(data))
