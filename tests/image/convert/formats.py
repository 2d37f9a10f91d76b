"""Images for the tests of ``ch-convert``: made by hand, and described independently of Sundog."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import stat
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sundog.base.record.owners import read_owners
from sundog.base.record.stack import unpack_command
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
XATTR = "SCHILY.xattr."
KINDS = {
    tarfile.DIRTYPE: "d",
    tarfile.SYMTYPE: "l",
    tarfile.CHRTYPE: "c",
    tarfile.BLKTYPE: "b",
    tarfile.FIFOTYPE: "p",
}
ODD = "odd \\ \n\t\"' \xff"
CONFIG = {
    "Env": ["A=b", "PATH=/bin"],
    "Entrypoint": ["/bin/e"],
    "Cmd": ["c", "d e"],
    "User": "5:6",
    "WorkingDir": "/w",
    "Volumes": {"/vol/ume": {}},
}
LOWER = (
    directory("./", mode=0o751),
    *(directory(name) for name in ("bin", "dev", "usr", "w")),
    directory("d", mode=0o2750, uid=7, gid=8),
    file("bin/su", b"su", mode=0o4755, uid=3, gid=4),
    file("bin/cap", pax={f"{XATTR}security.capability": CAPABILITY.decode("latin-1")}),
    file("d/attribute", pax={f"{XATTR}user.a": "b"}, uid=100000, gid=200000),
    file("hidden"),
    file("w/one", random.Random(0).randbytes(250_000)),
    hard_link("w/two", "w/one"),
    symlink("w/link", "/bin/su"),
    file(f"w/{ODD}", b"odd"),
    file("w/" + "n" * 200),
    file("replaced", b"old"),
    Entry("dev/null", "c", mode=0o666, device=(1, 3)),
    Entry("w/pipe", "p"),
    directory("closed", mode=0),
    file("closed/file", mode=0),
)
UPPER = (file(".wh.hidden", b""), file("replaced", b"new", uid=1))

APPTAINERS = (
    b".singularity.d",
    *(b".exec", b".run", b".shell", b".test"),
    *(b"environment", b"singularity"),
)

Found = dict[bytes, tuple[object, ...]]


def tar_of(entries: tuple[Entry, ...]) -> bytes:
    """Return a tar of these entries."""
    return archive(*entries).getvalue()


def make_layout(place: Path, trees: Sequence[tuple[Entry, ...]] = (LOWER, UPPER)) -> Path:
    """Make an OCI layout with one image of these layers, bottom first."""
    layout = place / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    kind = "application/vnd.oci.image"
    tars = [tar_of(tree) for tree in trees]
    layers = [put(gzip.compress(tar, mtime=0), f"{kind}.layer.v1.tar+gzip") for tar in tars]
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64"),
        "os": "linux",
        "config": CONFIG,
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars],
        },
        "history": [],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), f"{kind}.config.v1+json"),
        "layers": layers,
    }
    entry = put(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "img"}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layout


def make_sif(squash: bytes, *, signed: bool = False) -> bytes:
    """Return a SIF with a definition file and a SquashFS partition (apptainer/sif, pkg/sif).

    ``signed`` adds something that its descriptor calls a signature.
    """
    objects = [(0x4001, 1, b"definition", b""), partition(squash)]
    if signed:
        objects.append((0x4005, 1, b"signature", struct.pack("<i", 1)))
    return sif_of(*objects)


def partition(
    data: bytes, system: int = 1, kind: int = 2, machine: bytes = b"02"
) -> tuple[int, int, bytes, bytes]:
    """Return a partition for ``sif_of``: its file system, its kind, and its architecture."""
    return (0x4004, 1, data, struct.pack("<ii3s", system, kind, machine))


def sif_of(
    *objects: tuple[int, int, bytes, bytes] | None, machine: bytes = b"02", align: int = 4096
) -> bytes:
    """Return a SIF of objects: kind, group, data and the extra data of the descriptor.

    None stands for an object that was deleted, and ``align`` is the boundary of partitions.
    """
    start = 32 << 10
    header = struct.pack(
        "<32s10s3s3s16s8q",
        *(b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0", b"01\0", machine, b"u" * 16),
        *(0, 0, 48 - len(objects), 48, 4096, 48 * 585, start, 0),
    )
    table, data = b"", b""
    for number, each in enumerate(objects, 1):
        if each is None:
            table += bytes(585)
            continue
        kind, group, content, extra = each
        if kind == 0x4004:
            data += bytes(-(start + len(data)) % align)
        place, size = start + len(data), len(content)
        table += struct.pack(
            "<i?3I2q3q2q128s384s",
            *(kind, True, number, group, 0, place, size, size, 0, 0, 0, 0, b"n", extra),
        )
        data += content
    return (header.ljust(4096, b"\0") + table.ljust(48 * 585, b"\0")).ljust(start, b"\0") + data


# What an image is, as other programs than Sundog see it.


def expected() -> Found:
    """Return what the image of ``make_layout`` is."""
    found = in_tar(tar_of(LOWER))
    del found[b"hidden"]
    found |= {b"replaced": in_tar(tar_of(UPPER))[b"replaced"]}
    return found


def in_tar(data: bytes) -> Found:
    """Return path → kind, mode, uid, gid, device, contents, attributes of a tar's members."""
    found: Found = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            path = os.fsencode(member.name).removeprefix(b"./").strip(b"/")
            path = b"" if path == b"." else path
            if member.islnk():
                first = os.fsencode(member.linkname).removeprefix(b"./")
                found[path] = found[first]
                continue
            kind = KINDS.get(member.type, "f")
            content: bytes = b""
            if kind == "f":
                content = tar.extractfile(member).read()  # type: ignore[union-attr]
            elif kind == "l":
                content = os.fsencode(member.linkname)
            xattrs = {
                key.removeprefix(XATTR): value.encode("utf-8", "surrogateescape")
                for key, value in member.pax_headers.items()
                if key.startswith(XATTR)
            }
            device = (member.devmajor, member.devminor) if kind in "cb" else (0, 0)
            mode = 0o777 if kind == "l" else member.mode
            found[path] = (
                *(kind, mode, member.uid, member.gid, device, content),
                *(int(member.mtime), tuple(sorted(xattrs.items()))),
            )
    return found


def links_in_tar(data: bytes) -> list[set[str]]:
    """Return the sets of names that are one file."""
    sets: dict[str, set[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            if member.islnk():
                sets.setdefault(member.linkname, {member.linkname}).add(member.name)
    return list(sets.values())


def in_directory(tree: Path) -> Found:
    """Return what a directory is with its records; the caller can read all of it."""
    found: Found = {}
    records = read_owners(os.fsencode(tree / "ch/owners"))
    top = os.fsencode(tree)
    for directory_path, names, files in os.walk(top):
        for name in [b"", *names, *files] if directory_path == top else [*names, *files]:
            full = os.path.join(directory_path, name).rstrip(b"/")
            path = os.path.relpath(full, top) if full != top else b""
            status = os.lstat(full)
            record = records.get(path)
            kind = {stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p"}.get(
                stat.S_IFMT(status.st_mode), "f"
            )
            uid, gid, device = 0, 0, (0, 0)
            xattrs = {}
            if kind in "fd" and os.access(full, os.R_OK):
                for key in os.listxattr(full):
                    value = os.getxattr(full, key)
                    if key == "security.capability":
                        value = CAPABILITY if value[4:20] == CAPABILITY[4:] else value
                    xattrs[key] = value
            if record is not None:
                kind, uid, gid = record.kind, record.uid, record.gid
                device = (os.major(record.rdev), os.minor(record.rdev))
                xattrs |= {os.fsdecode(key): value for key, value in record.xattrs}
            content = b""
            if kind == "f" and os.access(full, os.R_OK):
                content = Path(os.fsdecode(full)).read_bytes()
            elif kind == "f":
                content = b"x\n"  # closed to us
            elif kind == "l":
                content = os.readlink(full)
            mode = 0o777 if kind == "l" else stat.S_IMODE(status.st_mode)
            found[path] = (
                *(kind, mode, uid, gid, device, content),
                *(int(status.st_mtime), tuple(sorted(xattrs.items()))),
            )
    return found


def in_squash(path: Path) -> bytes:
    """Return a SquashFS file, or that of a SIF, as a tar, by squashfs-tools-ng."""
    if path.suffix == ".sif":
        *_, (_, _, start, size, *_) = sif_descriptors(path.read_bytes())
        squash = path.with_suffix(".in-sif")
        squash.write_bytes(path.read_bytes()[start : start + size])
        path = squash
    return subprocess.run(
        ["sqfs2tar", "--root-becomes", ".", path], capture_output=True, check=True
    ).stdout


def sif_descriptors(sif: bytes) -> list[tuple[int, str, int, int, bytes]]:
    """Return kind, name, offset, size and the rest of each descriptor in use."""
    total, table = struct.unpack_from("<qq", sif, 88)
    found = []
    for number in range(total):
        fields = struct.unpack_from("<i?3I7q128s384s", sif, table + 585 * number)
        if fields[1]:
            name = fields[12].rstrip(b"\0").decode()
            found.append((fields[0], name, fields[5], fields[6], fields[13]))
    return found


def in_archive(path: Path) -> tuple[Found, dict[str, Any]]:
    """Return what the only image of a layout or an archive is, and its configuration."""
    files: dict[str, bytes] = {}
    if path.is_dir():
        files = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    else:
        with tarfile.open(path) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]

    def blob(descriptor: dict[str, str]) -> bytes:
        return files["blobs/" + descriptor["digest"].replace(":", "/")]

    if "index.json" in files:
        (entry,) = json.loads(files["index.json"])["manifests"]
        manifest = json.loads(blob(entry))
        config = json.loads(blob(manifest["config"]))
        layers = [gzip.decompress(blob(layer)) for layer in manifest["layers"]]
    else:
        (entry,) = json.loads(files["manifest.json"])
        config = json.loads(files[entry["Config"]])
        layers = [files[name] for name in entry["Layers"]]
    found: Found = {}
    for layer in layers:
        members = in_tar(layer)
        for path_ in members:
            parent, _, name = path_.rpartition(b"/")
            if name.startswith(b".wh."):
                hidden = (parent + b"/" if parent else b"") + name.removeprefix(b".wh.")
                found.pop(hidden, None)
        found |= {
            path: value
            for path, value in members.items()
            if not path.rpartition(b"/")[2].startswith(b".wh.")
        }
    return found, config["config"]


def config_in_tree(found: Found) -> dict[str, Any]:
    """Return the configuration that is in the files of an image."""
    own = unpack_command(found[b"ch/stack"][5])  # type: ignore[arg-type]
    env = found[b"ch/environment"][5]
    assert isinstance(env, bytes)
    return {
        "Env": env.decode().splitlines(),
        "Entrypoint": [word.decode() for word in own.entrypoint],
        "Cmd": [word.decode() for word in own.command],
        "User": own.user.decode(),
        "WorkingDir": own.workdir.decode(),
    }


def without_own(found: Found) -> Found:
    """Return what is in an image without the files of Sundog and of Apptainer, and VOLUME.

    Times of directories and of modes that are closed to the test are compared elsewhere.
    """
    return {
        path: value
        for path, value in found.items()
        if path not in (b"ch", b"vol", b"vol/ume", *APPTAINERS)
        and not path.startswith((b"ch/", b"closed/", b".singularity.d/"))
    }
