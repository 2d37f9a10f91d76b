"""Writing tars: other programs read them, the bytes never vary, a layer survives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.chunk_table import LANDMARK, NO_LANDMARK, STARGZ_NAME
from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.unpack import unpack
from sundog.image.layer.write_tar import write_tar
from sundog.image.layer.xattrs import portable_capability
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.layer.namespace import in_namespace
from tests.image.layer.trees import look

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.base.record.owners import OwnersManifest

CAPABILITY_2 = bytes.fromhex("0100000200200000000000000000000000000000")
CAPABILITY_3 = bytes.fromhex("0100000300200000000000000000000000000000e8030000")
ENTRIES = (
    directory("./", mode=0o751, uid=3),
    directory("d", mode=0o2755, uid=1, gid=2),
    file("d/f", b"data" * 1000, mode=0o4711, uid=12, gid=34),
    file("d/big-ids", uid=2**31 + 5, gid=3_000_000),
    file("/".join(["p" * 60] * 3), b"in the prefix"),
    file("/".join(["q" * 60] * 8), b"too long for it"),
    file("d/" + "n" * 150, b"a name too long"),
    symlink("l", "t" * 130, uid=7),
    hard_link("d/h", "d/f"),
    hard_link("d/a-link-before", "d/f"),
    hard_link("l2", "l"),
    Entry("null", "c", device=(1, 3), mode=0o666, gid=8),
    Entry("sda", "b", device=(8, 1048575), mode=0o660),
    hard_link("null2", "null"),
    Entry("fifo", "p", mode=0o622, uid=9),
    file("fraction", pax={"mtime": "1600000000.5"}),
    file("past", mtime=-1),
    file("umlaut-\xfc\xff"),
    file("long-\xfc" + "\xff" * 120),
    file("user", pax={"SCHILY.xattr.user.note": "hello", "SCHILY.xattr.user.empty": ""}),
    file("cap", pax={"SCHILY.xattr.security.capability": CAPABILITY_2.decode("latin-1")}),
    file("label", pax={"SCHILY.xattr.security.selinux": "label", "SCHILY.acl.access": "user::rw-"}),
    file("d/.wh.gone", b""),
    file(".wh.gone-too", b""),
    directory("opaque"),
    file("opaque/.wh..wh..opq", b""),
    file("opaque/new"),
)


def written(tree: bytes, owners: OwnersManifest, **options: Any) -> bytes:
    out = io.BytesIO()
    digest = write_tar(out, tree, owners, **options)
    assert digest == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
    return out.getvalue()


def test_a_layer_comes_back(place: bytes) -> None:
    def work() -> None:
        trees = [place + b"/1", place + b"/2"]
        for tree in trees:
            os.mkdir(tree)
        first = unpack(archive(*ENTRIES), trees[0])
        data = written(trees[0], first.owners)
        second = unpack(io.BytesIO(data), trees[1])
        assert second.owners == first.owners
        assert look(trees[1]) == look(trees[0])
        assert written(trees[1], second.owners) == data

    in_namespace(work)


def test_python_reads_it(tree: bytes) -> None:
    result = unpack(archive(*ENTRIES), tree)
    data = written(tree, result.owners)
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        members = {info.name: info for info in tar}
    assert len(members) == len({m.name for m in members.values()})
    by_name = {e.name: e for e in ENTRIES if isinstance(e.name, str)}
    for name in ("d", "d/f", "d/big-ids", "null", "sda", "fifo", "opaque"):
        info, entry = members[name], by_name[name]
        assert (info.mode, info.uid, info.gid) == (entry.mode or info.mode, entry.uid, entry.gid)
        assert (info.devmajor, info.devminor) == entry.device
    assert members["l"].linkname == "t" * 130
    assert {n for n, info in members.items() if info.islnk()} == {"d/f", "d/h", "l2", "null2"}
    assert members["d/f"].linkname == "d/a-link-before"
    assert members["fraction"].mtime == 1600000000.5
    assert members["past"].mtime == -1
    assert members["label"].pax_headers["SCHILY.acl.access"] == "user::rw-"
    marks = {n: info for n, info in members.items() if ".wh." in n}
    assert set(marks) == {"d/.wh.gone", ".wh.gone-too", "opaque/.wh..wh..opq"}
    assert {(m.mode, m.uid, m.size, m.mtime) for m in marks.values()} == {(0, 0, 0, 0)}
    assert ("long-\udcfc" + "\udcff" * 120) in members


FIRST = (b"d/h", b"opaque/new", b"l2", b"fifo", b"none", b"l/x", b"d/f/x", b"d/f", b"d", LANDMARK)
FIRST_NAMES = """\
./ .wh.gone-too d/ d/.wh.gone d/h opaque/ opaque/.wh..wh..opq opaque/new l2 fifo d/f
.prefetch.landmark"""


def test_files_that_come_first(place: bytes) -> None:
    """Directories with their marks come before them, and links after the first name."""

    def work() -> None:
        trees = [place + b"/1", place + b"/2"]
        for tree in trees:
            os.mkdir(tree)
        owners = unpack(archive(*ENTRIES), trees[0]).owners
        data = written(trees[0], owners, first=FIRST)
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
            members = [(info.name + "/" * info.isdir(), info) for info in tar]
        names = [name for name, _ in members]
        assert names[: len(FIRST_NAMES.split())] == FIRST_NAMES.split()
        assert len(names) == len(set(names))
        links = {info.name: info.linkname for _, info in members if info.islnk()}
        assert links == {"d/f": "d/h", "d/a-link-before": "d/h", "l": "l2", "null2": "null"}
        (landmark,) = (info for name, info in members if name == os.fsdecode(LANDMARK))
        assert data[landmark.offset_data : landmark.offset_data + landmark.size] == b"\x0f"
        result = unpack(io.BytesIO(data), trees[1])
        assert result.owners == owners
        found = look(trees[1])
        del found[LANDMARK]
        assert found == look(trees[0])
        # What an archive brought that was made so before is not there twice.
        before = os.stat(trees[1]).st_mtime_ns
        with open(os.path.join(trees[1], STARGZ_NAME), "xb"):
            os.utime(trees[1], ns=(before, before))
        assert written(trees[1], result.owners, first=FIRST) == data

    in_namespace(work)


def test_no_file_comes_first(tree: bytes) -> None:
    owners = unpack(archive(*ENTRIES), tree).owners
    for first in ((), (b"none", b"d/none/x")):
        data = written(tree, owners, first=first)
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
            names = [info.name for info in tar]
        assert names[:3] == [".", ".wh.gone-too", os.fsdecode(NO_LANDMARK)]
        assert os.fsdecode(LANDMARK) not in names
        assert len(names) == len(set(names))
    os.mkdir(os.path.join(tree, LANDMARK))
    with pytest.raises(ArchiveError, match="is a directory"):
        written(tree, owners, first=())


@pytest.mark.parametrize("first", [None, (b"umlaut-\xfc\xff", b"d/h", b"opaque", b"l2")])
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_other_programs_extract_the_same(
    program: str, place: bytes, first: tuple[bytes, ...] | None
) -> None:
    ordinary = [e for e in ENTRIES if ".wh." not in str(e.name) and e.kind not in "cb"]
    ordinary = [e for e in ordinary if e.link != "null" and "security" not in str(e.pax)]
    tree, reference = place + b"/tree", place + b"/reference"
    os.mkdir(tree)
    os.mkdir(reference)
    result = unpack(archive(*ordinary), tree)
    data = written(tree, result.owners, first=first)
    options = ["--no-same-owner", "-xpf", "-"]
    if program == "tar" and first:  # which sets times when another directory follows
        options.insert(0, "--delay-directory-restore")
    subprocess.run([program, *options], cwd=reference, input=data, check=True)
    expected, found = look(tree), look(reference)
    assert (found.pop(LANDMARK, None) is None) == (first is None)
    for path in (b"", b"user"):  # the program extracts xattrs only on request
        del expected[path], found[path]
    if program == "bsdtar":  # it drops set-id bits of another owner
        expected = {p: replace(seen, mode=seen.mode & 0o1777) for p, seen in expected.items()}
        found = {p: replace(seen, mode=seen.mode & 0o1777) for p, seen in found.items()}
    assert found == expected


def test_umoci_unpacks_it(tmp_path: Path, tree: bytes) -> None:
    """An OCI image of one of our layers, unpacked by another implementation."""
    entries = [e for e in ENTRIES if e.kind not in "cb" and e.link != "null"]
    entries = [e for e in entries if "security" not in str(e.pax) and "ids" not in str(e.name)]
    result = unpack(archive(*entries), tree)
    data = written(tree, result.owners)
    layout = tmp_path / "layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    oci = "application/vnd.oci.image."
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci + "manifest.v1+json",
        "config": blob(json.dumps(config).encode(), oci + "config.v1+json"),
        "layers": [blob(data, oci + "layer.v1.tar")],
    }
    descriptor = blob(json.dumps(manifest).encode(), oci + "manifest.v1+json")
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{layout}:x", str(tmp_path / "bundle")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rootfs = os.fsencode(tmp_path / "bundle" / "rootfs")
    found = {p: (s.kind, s.mode, s.text, s.same) for p, s in look(rootfs).items()}
    expected = {p: (s.kind, s.mode, s.text, s.same) for p, s in look(tree).items()}
    remove_tree(os.fsencode(tmp_path / "bundle"))
    assert found == expected


def test_the_same_bytes_whatever_the_order_of_making(place: bytes) -> None:
    trees = [place + b"/1", place + b"/2"]
    entries = [directory("./"), directory("d"), *(file(f"d/{n}") for n in "zyxabc"), file("e")]
    data = []
    for tree, order in zip(trees, (entries, entries[::-1]), strict=True):
        os.mkdir(tree)
        data.append(written(tree, unpack(archive(*order), tree).owners))
    assert data[0] == data[1]


def test_plain_members_have_no_pax_header(tree: bytes) -> None:
    unpack(archive(directory("./"), file("f"), symlink("l", "f")), tree)
    data = written(tree, {})
    # the blocks: ./, f and its data, l, the end
    assert len(data) == 512 * (1 + 2 + 1 + 2)


def test_times_are_clamped(tree: bytes) -> None:
    unpack(archive(directory("./", mtime=5), file("f", mtime=500), symlink("l", "f")), tree)
    with tarfile.open(fileobj=io.BytesIO(written(tree, {}, mtime_clamp=100))) as tar:
        assert {info.name: info.mtime for info in tar} == {".": 5, "f": 100, "l": 100}


def test_whiteouts_come_before_what_is_beside_them(tree: bytes) -> None:
    result = unpack(archive(*ENTRIES), tree)
    with tarfile.open(fileobj=io.BytesIO(written(tree, result.owners))) as tar:
        names = tar.getnames()
    for directory_name in (".", "d", "opaque"):
        prefix = "" if directory_name == "." else directory_name + "/"
        inside = [n for n in names if n.startswith(prefix) and "/" not in n[len(prefix) :]]
        marks = [n for n in inside if ".wh." in n]
        others = [n for n in inside if ".wh." not in n and n not in (".", directory_name)]
        assert max(map(names.index, marks)) < min(map(names.index, others))


def test_sparse_files_are_written_in_full(tree: bytes) -> None:
    with open(tree + b"/sparse", "wb") as out:
        out.seek(3 << 20)
        out.write(b"end")
    with tarfile.open(fileobj=io.BytesIO(written(tree, {}))) as tar:
        member = tar.extractfile("sparse")
        assert member is not None
        assert member.read() == bytes(3 << 20) + b"end"


def test_a_file_that_would_be_a_whiteout(tree: bytes) -> None:
    with open(tree + b"/.wh.x", "w"):
        pass
    with pytest.raises(ArchiveError, match=r"\.wh\.x cannot be in an archive") as caught:
        written(tree, {})
    assert "rename" in caught.value.hint


def test_marks_of_the_overlay_are_no_members(tree: bytes) -> None:
    os.mkdir(tree + b"/d")
    os.setxattr(tree + b"/d", "user.overlay.opaque", b"y")
    os.setxattr(tree + b"/d", "user.overlay.impure", b"y")
    os.mknod(tree + b"/gone", stat.S_IFCHR, 0)
    with tarfile.open(fileobj=io.BytesIO(written(tree, {}))) as tar:
        assert [(info.name, info.pax_headers.keys() - {"mtime"}) for info in tar] == [
            (".", set()),
            ("d", set()),
        ]


def test_an_output_that_takes_little_at_a_time(tree: bytes) -> None:
    class Narrow(io.RawIOBase):
        taken = b""

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            self.taken += bytes(data[:1000])
            return min(len(data), 1000)

    unpack(archive(file("f", b"data" * 10_000)), tree)
    narrow = Narrow()
    digest = write_tar(narrow, tree, {})
    assert digest == "sha256:" + hashlib.sha256(narrow.taken).hexdigest()


def test_capabilities_of_a_namespace_are_made_portable() -> None:
    assert portable_capability(CAPABILITY_3) == CAPABILITY_2
    assert portable_capability(CAPABILITY_2) == CAPABILITY_2
    assert portable_capability(b"odd") == b"odd"


def test_attribute_names_with_an_equals_sign_come_back(place: bytes) -> None:
    tree, again = place + b"/tree", place + b"/again"
    os.mkdir(tree)
    os.mkdir(again)
    with open(tree + b"/f", "w") as out:
        os.setxattr(out.fileno(), b"user.a=b%", b"\0\n=")
    unpack(io.BytesIO(written(tree, {})), again)
    assert os.getxattr(again + b"/f", b"user.a=b%") == b"\0\n="


COMPONENT = st.one_of(
    st.sampled_from([b"a", b"b", b"c"]),
    st.binary(min_size=1, max_size=12).filter(
        lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")
    ),
    st.integers(90, 200).map(lambda n: b"n" * n),
).filter(lambda n: not n.startswith(b".wh."))
PATHS = st.lists(COMPONENT, min_size=1, max_size=5).map(b"/".join)
TIMES = st.one_of(
    st.integers(0, 2**33).map(lambda s: s * 10**9), st.integers(-(10**18), 5 * 10**18)
)
IDS = st.one_of(st.just(0), st.integers(0, 2**32 - 2))
XATTRS = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b=c", b"security.selinux", b"trusted.x"]),
    st.binary(max_size=20),
    max_size=2,
)


@dataclass(frozen=True)
class Wanted:
    kind: str
    path: bytes
    data: bytes
    mode: int
    mtime_ns: int
    uid: int
    gid: int
    xattrs: dict[bytes, bytes]
    link: bytes


WANTED = st.builds(
    Wanted,
    st.sampled_from("fffddlpcbhw"),
    PATHS,
    data=st.binary(max_size=2000),
    mode=st.sampled_from([0o644, 0o755, 0o4711, 0o2750, 0o1777, 0]),
    mtime_ns=TIMES,
    uid=IDS,
    gid=IDS,
    xattrs=XATTRS,
    link=PATHS,
)


def attributed(full: bytes, want: Wanted) -> OwnerRecord:
    """Set the extended attributes that a user may set; return the record of all others."""
    left = []
    for name, value in want.xattrs.items():
        if name.startswith(b"user.") and want.kind not in "lp":
            os.setxattr(full, name, value)
        else:
            left.append((name, value))
    rdev = os.makedev(7, want.uid % 1000) if want.kind in "cb" else 0
    return OwnerRecord(want.kind, want.uid, want.gid, rdev=rdev, xattrs=tuple(left))


def make(tree: bytes, wanted: list[Wanted]) -> OwnersManifest:
    """Make a layer with every kind of file and attribute."""
    owners: OwnersManifest = {}
    files: list[bytes] = []
    times: list[tuple[bytes, int]] = []
    for want in wanted:
        path, kind = want.path, want.kind
        full = os.path.join(tree, path)
        hidden = [p for p, record in owners.items() if record.kind == "w"]
        if any(path == p or path.startswith(p + b"/") for p in hidden):
            continue
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if kind == "w":
                if not os.path.lexists(full):
                    owners[path] = OwnerRecord("w")
                continue
            if kind == "h":
                if files:
                    os.link(os.path.join(tree, files[0]), full)
                    owners.update({path: owners[files[0]]} if files[0] in owners else {})
                continue
            if kind in "fcb":
                with open(full, "xb") as out:
                    out.write(want.data if kind == "f" else b"")
                os.chmod(full, want.mode)
                files.append(path)
            elif kind == "d":
                os.mkdir(full)
            elif kind == "l":
                os.symlink(want.link, full)
            else:
                os.mkfifo(full)
        except OSError:
            continue
        times.append((full, want.mtime_ns))
        record = attributed(full, want)
        if not record.is_plain:
            owners[path] = record
    for full, mtime_ns in reversed(times):
        os.utime(full, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    return owners


@settings(max_examples=80, deadline=None)
@given(st.lists(WANTED, max_size=8), st.one_of(st.none(), st.integers(0, 8)))
def test_arbitrary_layers_come_back(wanted: list[Wanted], count: int | None) -> None:
    first = None if count is None else [want.path for want in wanted[::-1][:count]]

    def work() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            place = os.fsencode(scratch)
            tree, again = place + b"/tree", place + b"/again"
            os.mkdir(tree)
            os.mkdir(again)
            owners = make(tree, wanted)
            data = written(tree, owners, first=first)
            result = unpack(io.BytesIO(data), again)
            assert result.owners == owners
            found = look(again)
            marks = [found.pop(name, None) for name in (LANDMARK, NO_LANDMARK)]
            assert marks.count(None) == 1 + (first is None)
            assert found == look(tree)
            assert written(again, result.owners, first=first) == data
            remove_tree(place)
            os.mkdir(place)

    in_namespace(work)
