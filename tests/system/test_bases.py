"""The makers of base images: the same bytes each time, and the owners that root would give."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from scripts.bases import alpine, apk, busybox

if TYPE_CHECKING:
    from pathlib import Path


def owners(path: Path) -> dict[str, tuple[int, int, int]]:
    with tarfile.open(path) as tar:
        return {entry.name.removeprefix("./"): (entry.uid, entry.gid, entry.mode) for entry in tar}


def test_busybox_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    busybox.make(first)
    busybox.make(second)
    assert first.read_bytes() == second.read_bytes()


def test_debian_keeps_the_owners_that_root_would_give(debian_tar: Path) -> None:
    seen = owners(debian_tar)
    assert seen["usr/sbin/unix_chkpwd"] == (0, 42, 0o2755)
    assert seen["usr/bin/su"] == (0, 0, 0o4755)


def test_alpine_holds_no_machine(alpine_tar: Path) -> None:
    seen = owners(alpine_tar)
    assert seen["etc/shadow"] == (0, 42, 0o640)
    assert not [name for name in seen if "openrc" in name or name.startswith("boot/")]
    with tarfile.open(alpine_tar) as tar:
        passwd = tar.extractfile("etc/passwd")
        assert passwd is not None
        assert not {line.split(b":")[0].decode() for line in passwd} & alpine.ADDED_ACCOUNTS


def test_apk_package_reads_as_one_tar_whose_control_part_is_its_identity() -> None:
    package, record = apk.pack(alpine.SECRET, "x86_64")
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        names = tar.getnames()
        information = tar.extractfile(".PKGINFO")
        assert information is not None
        lines = information.read().decode().splitlines()
    assert names == [".PKGINFO", *(entry.path for entry in alpine.SECRET.entries)]
    digest = dict(line.split(" = ") for line in lines)
    # The data part is the last gzip member: its digest finds it among all suffixes that are gzip.
    starts = [i for i in range(len(package)) if package[i : i + 3] == b"\x1f\x8b\x08"]
    parts = [package[start:] for start in starts]
    matching = [p for p in parts if hashlib.sha256(p).hexdigest() == digest["datahash"]]
    assert len(matching) == 1
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(matching[0]))) as data:
        assert data.getnames() == names[1:]
    assert f"S:{len(package)}\n" in record
