"""Unpacking: what it keeps, what it refuses, and that it never touches a file outside."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.below import LayerTree
from sundog.image.layer.names import PATH_LIMIT
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.unpack import Unpacked, unpack
from tests.image.layer.archives import (
    MTIME,
    Entry,
    archive,
    directory,
    file,
    hard_link,
    pax_header,
    raw_archive,
    raw_header,
    symlink,
)
from tests.image.layer.namespace import in_namespace
from tests.image.layer.test_tar import PARTS
from tests.image.layer.trees import listing, look

if TYPE_CHECKING:
    from pathlib import Path

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep

# An acl(5) as an xattr: version 2; owner rwx, group r-x, mask r--, others rwx.
DEFAULT_ACL = struct.pack(
    "<I" + "HHI" * 4,
    2,
    *(0x01, 7, 0xFFFFFFFF, 0x04, 5, 0xFFFFFFFF),
    *(0x10, 4, 0xFFFFFFFF, 0x20, 7, 0xFFFFFFFF),
)


def unpacked(tree: bytes, *entries: Entry, **options: object) -> Unpacked:
    return unpack(archive(*entries), tree, **options)  # type: ignore[arg-type]


def refused(tree: bytes, *entries: Entry) -> str:
    with pytest.raises(ArchiveError) as caught:
        unpacked(tree, *entries)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Kept


def test_modes_owners_and_times(tree: bytes) -> None:
    result = unpacked(
        tree,
        file("setuid", mode=0o4755),
        file("setgid", mode=0o2755, uid=3),
        directory("sticky", mode=0o1777),
        directory("sgdir", mode=0o2775, gid=7),
        file("none", mode=0),
        directory("closed", mode=0),
        file("closed/in", uid=2**31 + 5, gid=3_000_000),
        directory("readonly", mode=0o555),
        file("readonly/in", mode=0o444),
        file("frac", pax={"mtime": "1600000000.123456789"}),
        file("past", mtime=-1),
        file("future", mtime=2**33),
        directory("dtime", mtime=42),
        file("dtime/in"),
    )
    modes = {
        name: stat.S_IMODE(os.lstat(os.path.join(tree, name)).st_mode)
        for name in (b"setuid", b"setgid", b"sticky", b"sgdir", b"none", b"closed", b"readonly")
    }
    assert modes == {
        b"setuid": 0o4755,
        b"setgid": 0o2755,
        b"sticky": 0o1777,
        b"sgdir": 0o2775,
        b"none": 0,
        b"closed": 0,
        b"readonly": 0o555,
    }
    assert result.owners == {
        b"setgid": OwnerRecord("f", 3, 0),
        b"sgdir": OwnerRecord("d", 0, 7),
        b"closed/in": OwnerRecord("f", 2**31 + 5, 3_000_000),
    }
    times = [os.stat(os.path.join(tree, n)).st_mtime_ns for n in (b"frac", b"past", b"dtime")]
    assert times == [1_600_000_000_123_456_789, -(10**9), 42 * 10**9]
    assert os.stat(os.path.join(tree, b"future")).st_mtime == 2**33
    assert not result.needs_below


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
@pytest.mark.parametrize("acl", [b"", DEFAULT_ACL], ids=["", "default ACL"])
def test_modes_whatever_the_user_gives_new_files(tree: bytes, umask: int, acl: bytes) -> None:
    """A default ACL replaces the umask and grants permissions itself."""
    if acl:
        os.setxattr(tree, "system.posix_acl_default", acl)
    modes = {b"f%o" % mode: mode for mode in (0, 0o200, 0o444, 0o640, 0o664, 0o777, 0o1666, 0o4711)}
    before = os.umask(umask)
    try:
        unpacked(
            tree,
            directory("d", mode=0o775),
            *(file(f"d/{name.decode()}", mode=mode) for name, mode in modes.items()),
        )
        assert os.umask(umask) == umask, "it is the caller's again"
    finally:
        os.umask(before)
    there = os.path.join(tree, b"d")
    assert stat.S_IMODE(os.lstat(there).st_mode) == 0o775
    for name, mode in modes.items():
        assert stat.S_IMODE(os.lstat(os.path.join(there, name)).st_mode) == mode


def test_devices_have_placeholders(tree: bytes) -> None:
    result = unpacked(
        tree,
        Entry("null", "c", device=(1, 3), mode=0o666),
        Entry("sda", "b", device=(8, 0), mode=0o660, gid=6),
        Entry("zero", "c", device=(0, 0)),
        Entry("fifo", "p", mode=0o620),
        hard_link("null2", "null"),
    )
    seen = look(tree)
    assert {name: (entry.kind, entry.mode, entry.size) for name, entry in seen.items() if name} == {
        b"null": ("f", 0o666, 0),
        b"null2": ("f", 0o666, 0),
        b"sda": ("f", 0o660, 0),
        b"zero": ("f", 0o644, 0),
        b"fifo": ("p", 0o620, 0),
    }
    assert seen[b"null2"].same == b"null"
    assert result.owners == {
        b"null": OwnerRecord("c", rdev=os.makedev(1, 3)),
        b"null2": OwnerRecord("c", rdev=os.makedev(1, 3)),
        b"sda": OwnerRecord("b", 0, 6, rdev=os.makedev(8, 0)),
        b"zero": OwnerRecord("c"),
    }


XATTRS = (
    file("cap", mode=0o755, pax={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}),
    file("user", mode=0o400, pax={"SCHILY.xattr.user.note": "hello"}),
    file("b64", pax={"LIBARCHIVE.xattr.user.b64": "aGVsbG8"}),
    file("forged", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"}),
    directory("forged2", pax={"SCHILY.xattr.user.overlay.opaque": "y"}),
    file("trusted", pax={"SCHILY.xattr.trusted.other": "y"}),
    file("selinux", pax={"SCHILY.xattr.security.selinux": "system_u:object_r:bin_t:s0"}),
    file("acl", pax={"SCHILY.acl.access": "user::rw-,group::r--,other::r--"}),
    symlink("link", "user", pax={"SCHILY.xattr.user.note": "on a link"}),
    directory("dir", pax={"SCHILY.xattr.user.note": "on a directory"}),
)
LEFT = {
    b"trusted": OwnerRecord("f", xattrs=((b"trusted.other", b"y"),)),
    b"selinux": OwnerRecord("f", xattrs=((b"security.selinux", b"system_u:object_r:bin_t:s0"),)),
    b"acl": OwnerRecord("f", xattrs=((b"SCHILY.acl.access", b"user::rw-,group::r--,other::r--"),)),
    b"link": OwnerRecord("l", xattrs=((b"user.note", b"on a link"),)),
}


def test_xattrs_in_the_worker(tree: bytes) -> None:
    def work() -> tuple[Unpacked, dict[bytes, tuple[tuple[str, bytes], ...]]]:
        result = unpacked(tree, *XATTRS)
        return result, {name: entry.xattrs for name, entry in look(tree).items() if entry.xattrs}

    result, found = in_namespace(work)
    assert found == {
        b"cap": (("security.capability", CAPABILITY),),
        b"user": (("user.note", b"hello"),),
        b"b64": (("user.b64", b"hello"),),
        b"dir": (("user.note", b"on a directory"),),
    }
    assert result.owners == LEFT


@pytest.mark.skipif(os.geteuid() == 0, reason="kernel: root may set capabilities anywhere")
def test_capabilities_go_to_the_manifest_outside_a_namespace(tree: bytes) -> None:
    result = unpacked(tree, *XATTRS)
    assert result.owners == {
        **LEFT,
        b"cap": OwnerRecord("f", xattrs=((b"security.capability", CAPABILITY),)),
    }


def test_links(tree: bytes) -> None:
    result = unpacked(
        tree,
        file("a", b"a\n", uid=5),
        hard_link("b", "a"),
        symlink("abs", "/a"),
        hard_link("abs2", "abs"),
        symlink("loop", "loop"),
        symlink("up", "../../../../a"),
        hard_link("c", "./b"),
        hard_link("/d", "/c"),
        file("b", b"broken off\n"),
        hard_link("a", "a"),
    )
    seen = look(tree)
    assert seen[b"c"].same == seen[b"a"].same == seen[b"d"].same == b"a"
    assert (seen[b"b"].same, seen[b"b"].text) == (b"b", b"broken off\n")
    assert seen[b"abs"].text == b"/a"
    assert seen[b"abs2"].same == b"abs"
    assert seen[b"up"].text == b"../../../../a"
    assert set(result.owners) == {b"a", b"c", b"d"}
    assert seen[b"abs"].mtime_ns == MTIME * 10**9


def test_names_that_are_not_text(tree: bytes) -> None:
    names = [
        b"latin-\xfc\xff\xfe",
        b"new\nline",
        b"-dash",
        b"back\\slash",
        b" ",
        b"...",
        b"\x1b[31m",
    ]
    unpacked(tree, *(file(name) for name in names), file("a" * 255), file(".git"), file("x/.git"))
    assert set(os.listdir(tree)) == {*names, b"a" * 255, b".git", b"x"}


def test_odd_spellings_of_paths(tree: bytes) -> None:
    unpacked(
        tree,
        directory("./"),
        file("./dot"),
        file("n//double"),
        directory("n/slash///"),
        file("/n/absolute"),
        file("n/./in-dot"),
    )
    assert set(listing(tree)) == {
        b"",
        b"dot",
        b"n",
        b"n/double",
        b"n/slash",
        b"n/absolute",
        b"n/in-dot",
    }


def test_directories_that_the_archive_takes_for_granted(tree: bytes) -> None:
    unpacked(tree, file("a/b/c"))
    seen = look(tree)
    assert [(seen[p].mode, seen[p].mtime_ns) for p in (b"", b"a", b"a/b")] == [
        (0o755, MTIME * 10**9)
    ] * 3


def test_the_root_has_attributes_too(tree: bytes) -> None:
    result = unpacked(tree, directory("./", mode=0o700, uid=9, mtime=77), file("f"))
    assert result.owners == {b"": OwnerRecord("d", 9)}
    seen = look(tree)[b""]
    assert (seen.mode, seen.mtime_ns) == (0o700, 77 * 10**9)


def test_an_archive_of_nothing(tree: bytes) -> None:
    result = unpacked(tree)
    assert (result.owners, os.listdir(tree)) == ({}, [])


def test_trees_as_deep_as_paths_may_be(tree: bytes) -> None:
    deep = "/".join(["d"] * 2046) + "/ff"
    assert len(deep) == PATH_LIMIT
    unpacked(tree, file(deep), hard_link("x", deep), directory(deep[:-1] + "g"))
    assert os.lstat(os.path.join(tree, b"x")).st_nlink == 2


@pytest.mark.parametrize(
    "name", ["/".join(["d"] * 4000), "/".join(["deep" * 10] * 300), "d/" * 2046 + "fff"]
)
def test_paths_that_no_program_could_open(tree: bytes, name: str) -> None:
    assert "a path of more than 4094 bytes (PATH_MAX)" in refused(tree, file(name))


def test_short_names_of_long_paths(tree: bytes) -> None:
    deep = "d/" * 2000
    entries = [directory(deep), symlink("l", "/" + deep), file("l/" + "f" * 90)]
    unpacked(tree, *entries)
    assert "PATH_MAX" in refused(tree, *entries, file("l/" + "f" * 100))
    assert "PATH_MAX" in refused(tree, *entries, file("l/.wh." + "f" * 100))


# One path twice


def test_the_last_of_one_name_wins(tree: bytes) -> None:
    result = unpacked(
        tree,
        file("f", b"first", uid=1),
        file("f", b"second"),
        file("f2d", uid=1),
        directory("f2d"),
        file("f2d/in"),
        directory("d2f", uid=1),
        file("d2f/in", uid=1),
        directory("d2f/deep"),
        file("d2f"),
        directory("d2l"),
        file("d2l/in"),
        symlink("d2l", "f"),
        symlink("l2f", "f"),
        file("l2f", b"not through the link"),
        Entry("p2f", "p"),
        file("p2f", b"does not block"),
        directory("d", mode=0o700, uid=3),
        file("d/in"),
        directory("d", mode=0o750),
        hard_link("f2", "f"),
        hard_link("l2f", "f2"),
    )
    seen = listing(tree)
    assert seen == {
        b"": ("d", 0o755, b""),
        b"f": ("f", 0o644, b"second"),
        b"f2": ("f", 0o644, b"second"),
        b"f2d": ("d", 0o755, b""),
        b"f2d/in": ("f", 0o644, b"x\n"),
        b"d2f": ("f", 0o644, b"x\n"),
        b"d2l": ("l", 0, b"f"),
        b"l2f": ("f", 0o644, b"second"),
        b"p2f": ("f", 0o644, b"does not block"),
        b"d": ("d", 0o750, b""),
        b"d/in": ("f", 0o644, b"x\n"),
    }
    assert result.owners == {}


def test_a_replaced_directory_does_not_linger_as_a_way(tree: bytes, place: bytes) -> None:
    os.mkdir(place + b"/outside")
    unpacked(
        tree,
        directory("d"),
        file("d/a"),
        symlink("d", "e"),
        file("d/b"),
        symlink("e", "f"),
        file("d/c"),
    )
    assert set(listing(tree)) == {b"", b"d", b"e", b"e/b", b"f", b"f/c"} - {b"e/b"}
    assert os.listdir(place + b"/outside") == []


# Through symlinks


def test_symlinks_on_the_way_resolve_inside(tree: bytes) -> None:
    result = unpacked(
        tree,
        directory("usr"),
        symlink("lib", "usr/lib"),
        file("lib/x", uid=1),
        symlink("abs", "/usr"),
        file("abs/y"),
        symlink("usr/up", "../../../usr/./lib/.."),
        file("usr/up/z"),
        hard_link("h", "lib/x"),
    )
    assert {b"usr/lib/x", b"usr/y", b"usr/z", b"h"} <= set(listing(tree))
    assert set(result.owners) == {b"usr/lib/x", b"h"}


@pytest.mark.parametrize("target", ["{victim}", "/../../../../../../../..{victim}", "../../../.."])
def test_symlinks_never_lead_out(tree: bytes, place: bytes, target: str) -> None:
    victim = os.path.join(place, b"victim")
    os.mkdir(victim)
    with open(victim + b"/precious", "w") as out:
        out.write("precious")
    before = look(place)
    target = target.format(victim=victim.decode())
    unpacked(
        tree,
        symlink("e", target),
        file("e/escaped"),
        file("e/.wh.precious"),
        file("e/.wh..wh..opq"),
        file("e/precious", b"overwritten"),
        directory("e/d", mode=0o777),
    )
    remove_tree(tree)
    del before[b"tree"]
    after = look(place)
    assert {p: s for p, s in after.items() if p} == {p: s for p, s in before.items() if p}


def test_a_loop_of_symlinks(tree: bytes) -> None:
    assert "too many symbolic links" in refused(
        tree, symlink("a", "b"), symlink("b", "a"), file("a/x")
    )


# Refused

REFUSALS = {
    "..": ([file("../../../tmp/escaped")], '".."'),
    ".. inside": ([file("a/../../escaped")], '".."'),
    "hard link out": ([hard_link("e", "../../../etc/passwd")], '".."'),
    "hard link to a file of the host": ([hard_link("e", "/etc/passwd")], "not there"),
    "hard link through a link": ([symlink("e", "/etc"), hard_link("p", "e/passwd")], "not there"),
    "hard link to nothing": ([hard_link("e", "missing")], "which is not there"),
    "hard link to a directory": ([directory("d"), hard_link("e", "d")], "or below the link"),
    "hard link to the root": ([hard_link("e", "/")], "or below the link"),
    "hard link over its target": ([file("d/f"), hard_link("d", "d/f")], "or below the link"),
    "symbolic link to nothing": ([symlink("e", "")], "without a proper target"),
    "root is a link": ([symlink(".", "/tmp")], "the root is not a directory"),
    "root is a file": ([file("./")], "the root is not a directory"),
    "a file on the way": ([file("a"), file("a/b")], "a is not a directory"),
    "whiteout of nothing": ([file("d/.wh.", b"")], "whiteout without a name"),
    "whiteout of .": ([file("d/.wh..", b"")], "whiteout without a name"),
    "whiteout of ..": ([file("d/.wh...", b"")], "whiteout without a name"),
    "whiteout with a slash": ([file(".wh.a/b", b"")], "a whiteout is not a directory"),
    "a name too long": ([file("n" * 256)], "file name too long"),
    "a target too long": ([symlink("n", "t" * 5000)], "file name too long"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(tree: bytes, case: str) -> None:
    entries, message = REFUSALS[case]
    assert message in refused(tree, file("before"), *entries)


def test_names_with_a_nul(tree: bytes) -> None:
    for records in ([(b"path", b"a\0b")], [(b"linkpath", b"a\0b")]):
        stream = raw_archive(pax_header(*records), raw_header(b"n", typeflag=b"2", link=b"l"))
        with pytest.raises(ArchiveError):
            unpack(stream, tree)


def test_a_cut_archive_names_the_member(tree: bytes) -> None:
    data = archive(file("whole"), file("big\x1b[31m", b"y" * 100_000)).getvalue()
    with pytest.raises(ArchiveError, match="big\x1b\\[31m: the archive ends early"):
        unpack(io.BytesIO(data[:50_000]), tree)


def test_a_lying_size_takes_the_next_header_for_data(tree: bytes) -> None:
    header = raw_header(b"next")
    unpack(raw_archive(raw_header(b"liar", size=b"00000001000\0"), header), tree)
    assert listing(tree) == {b"": ("d", 0o755, b""), b"liar": ("f", 0o644, header)}


def test_a_sparse_file_larger_than_any_file_system(tree: bytes) -> None:
    stream = raw_archive(
        pax_header((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"%d" % (2**63 - 1))),
        raw_header(b"huge"),
    )
    with pytest.raises(ArchiveError, match=r"huge: cannot be unpacked"):
        unpack(stream, tree)


def test_a_full_file_system_is_not_the_archives_fault(place: bytes) -> None:
    from sundog.base.kernel.mounts import mount

    def fill() -> int | None:
        mount(b"tmpfs", place, b"tmpfs", 0, b"size=256k")
        try:
            unpack(archive(file("big", b"y" * 1_000_000)), place)
        except OSError as error:
            return error.errno
        return None

    assert in_namespace(fill) == errno.ENOSPC


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=5))
def test_rubbish_never_raises_anything_else(parts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = os.fsencode(scratch)
        os.mkdir(place + b"/tree")
        with contextlib.suppress(ArchiveError):
            unpack(raw_archive(*parts), place + b"/tree")
        assert os.listdir(place) == [b"tree"]
        remove_tree(place + b"/tree")


ENTRIES = st.builds(
    Entry,
    st.sampled_from(["a", "b", "a/b", "b/a", "a/.wh.b", ".wh.a", "a/.wh..wh..opq", "./", "/a/b/c"]),
    st.sampled_from("fdlhp"),
    link=st.sampled_from(["a", "b", "/a", "../b", "a/b", "/", "..", "b/../a", "/tmp"]),
    mode=st.sampled_from([0o755, 0o700, 0o4711]),
    uid=st.integers(0, 1),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ENTRIES, max_size=8), st.lists(ENTRIES, max_size=6))
def test_any_order_of_members(lower: list[Entry], upper: list[Entry]) -> None:
    """Unpacking two layers of arbitrary members, or refusing them, changes nothing outside."""
    with tempfile.TemporaryDirectory() as scratch:
        place = os.fsencode(scratch)
        first, second = place + b"/1", place + b"/2"
        os.mkdir(first)
        os.mkdir(second)
        try:
            base = unpack(archive(*lower), first)
            unpack(archive(*upper), second, below=[LayerTree(first, base.owners)])
        except ArchiveError:
            pass
        assert sorted(os.listdir(place)) == [b"1", b"2"]
        remove_tree(first)
        remove_tree(second)


# Import


def test_import_strips_the_one_directory_that_wraps_all(tree: bytes) -> None:
    result = unpacked(
        tree,
        directory("image-1.0", mode=0o750, uid=4),
        directory("image-1.0/etc", mtime=5),
        file("image-1.0/etc/shadow", gid=42),
        file("image-1.0/image-1.0", b"the same name again"),
        hard_link("image-1.0/link", "image-1.0/etc/shadow"),
        import_rules=True,
    )
    seen = look(tree)
    assert set(seen) == {b"", b"etc", b"etc/shadow", b"image-1.0", b"link"}
    assert seen[b""].mode == 0o750
    assert seen[b"etc"].mtime_ns == 5 * 10**9
    assert result.owners == {
        b"": OwnerRecord("d", 4),
        b"etc/shadow": OwnerRecord("f", 0, 42),
        b"link": OwnerRecord("f", 0, 42),
    }


@pytest.mark.parametrize("top", ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp", "usr"])
def test_import_keeps_the_usual_directories(tree: bytes, top: str) -> None:
    unpacked(tree, directory(top), file(top + "/f"), import_rules=True)
    assert os.listdir(tree) == [os.fsencode(top)]


def test_import_keeps_two_directories_and_a_lone_file(tree: bytes, place: bytes) -> None:
    unpacked(tree, directory("a"), directory("b"), import_rules=True)
    assert sorted(os.listdir(tree)) == [b"a", b"b"]
    other = os.path.join(place, b"other")
    os.mkdir(other)
    unpacked(other, file("a"), import_rules=True)
    assert os.listdir(other) == [b"a"]


def test_layers_are_never_stripped(tree: bytes) -> None:
    unpacked(tree, directory("opt"), file("opt/f"))
    assert os.listdir(tree) == [b"opt"]


def test_import_whiteouts_delete_nothing(tree: bytes) -> None:
    unpacked(tree, file("etc/a"), file("etc/.wh.a", b""), file("etc/.wh.b", b""), import_rules=True)
    assert set(listing(tree)) == {b"", b"etc", b"etc/a"}


# Oracles


def make_source(root: Path) -> None:
    for i in range(40):
        sub = root / f"d{i % 7}" / f"e{i % 3}"
        sub.mkdir(parents=True, exist_ok=True)
        (sub / f"f{i}").write_bytes(bytes([i]) * (i * 997))
        (sub / f"f{i}").chmod(0o600 + i % 64)
    (root / "d0/link").symlink_to("../d1/e1")
    os.link(root / "d0/e0/f0", root / "d6/hard")
    os.mkfifo(root / "d2/fifo")
    (root / "d3/empty").mkdir(mode=0o711)
    (root / ("d3/" + "n" * 120)).mkdir()
    (root / ("d3/" + "n" * 120) / ("m" * 120)).write_bytes(b"long")
    with (root / "d4/sparse").open("wb") as out:
        out.seek(3 << 20)
        out.write(b"end")


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_agrees_with_other_programs(
    program: str, form: str, tmp_path: Path, tree: bytes, place: bytes
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    make_source(source)
    packed = tmp_path / "a.tar"
    options = [f"--format={form if program == 'tar' else form.replace('gnu', 'gnutar')}"]
    options += ["--sparse"] if program == "tar" else []
    subprocess.run([program, *options, "-C", str(source), "-cf", str(packed), "."], check=True)
    reference = os.path.join(place, b"reference")
    os.mkdir(reference)
    subprocess.run([program, "-C", os.fsdecode(reference), "-xpf", str(packed)], check=True)
    with packed.open("rb") as stream:
        unpack(stream, tree)
    whole_seconds = program == "tar" and form == "gnu"
    expected = look(reference, times=not whole_seconds)
    found = look(tree, times=not whole_seconds)
    del expected[b""], found[b""]  # bsdtar sets the root's time too early
    assert found == expected
    assert len(expected) > 60


def test_agrees_with_pythons_tarfile(tmp_path: Path, tree: bytes, place: bytes) -> None:
    source = tmp_path / "source"
    source.mkdir()
    make_source(source)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(source, arcname=".")
    reference = os.path.join(place, b"reference")
    os.mkdir(reference)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        # Python 3.11.2 has no filters and trusts the archive.
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        tar.extractall(os.fsdecode(reference))
    stream.seek(0)
    unpack(stream, tree)
    assert look(tree, times=False) == look(reference, times=False)


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """Another process unpacks a member of 300 MB and 20,000 small ones."""
    packed = tmp_path / "big.tar.gz"
    script = f"""
import gzip, io, os, resource, sys, tarfile
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.unpack import unpack
class Zeros:
    def read(self, size): return bytes(size)
with gzip.open({str(packed)!r}, "wb", 1) as out, tarfile.open(fileobj=out, mode="w|") as tar:
    info = tarfile.TarInfo("big"); info.size = 300 << 20
    tar.addfile(info, Zeros())
    for i in range(20000):
        tar.addfile(tarfile.TarInfo(f"d{{i % 100}}/f{{i}}"))
if os.fork() == 0:
    os.mkdir("tree")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open({str(packed)!r}, "rb", buffering=0) as raw:
        unpack(open_decompressed(raw), b"tree")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, flush=True)
    os._exit(0)
os.wait()
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
    )
    assert int(run.stdout) < 100
    remove_tree(os.fsencode(tmp_path / "tree"))
