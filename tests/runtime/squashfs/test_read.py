"""Images that other programs wrote; the tree itself and other readers are the oracles."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sundog.base.record.owners import OwnerRecord
from tests.runtime.squashfs.made import (
    COMPRESSORS,
    PSEUDO,
    content,
    found,
    make_tree,
    mksquashfs,
    opened,
    owner_records,
    run,
)

if TYPE_CHECKING:
    from sundog.runtime.squashfs.image import SquashfsImage

KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}
OPTIONS = {
    "no fragments": ("-no-fragments",),
    "fragments of all tails": ("-always-use-fragments",),
    "nothing compressed": ("-no-compression",),
    "inodes not compressed": ("-noI", "-noX"),
    "data not compressed": ("-noD", "-noF"),
    "not exportable": ("-no-exports",),
    "no xattrs": ("-no-xattrs",),
    "no duplicates": ("-no-duplicates",),
    "holes": ("-no-sparse",),
    "4 KiB": ("-b", "4096"),
    "64 KiB": ("-b", "65536", "-comp", "zstd"),
    "1 MiB": ("-b", "1048576", "-comp", "zstd"),
    "one owner": ("-all-root", "-comp", "zstd"),
    "filters": ("-comp", "xz", "-Xbcj", "x86", "-Xdict-size", "100%"),
    "another window": ("-comp", "gzip", "-Xwindow-size", "9", "-Xstrategy", "huffman_only"),
    "the best of zstd": ("-comp", "zstd", "-Xcompression-level", "22"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of many kinds of files."""
    return make_tree(tmp_path_factory.mktemp("tree") / "tree")


def check_tree(
    image: SquashfsImage, tree: Path, *, xattrs: bool = True, links: bool = True, root: bool = True
) -> None:
    """Check that ``image`` has just what ``tree`` has."""
    paths = found(image)
    there = {"": tree} | {str(path.relative_to(tree)): path for path in tree.rglob("*")}
    assert paths.keys() == there.keys()
    for name, path in there.items():
        if not name and not root:
            continue
        inode, status = paths[name], path.lstat()
        assert inode.kind == KINDS[stat.S_IFMT(status.st_mode)]
        assert inode.mtime == int(status.st_mtime)
        if inode.kind != "l":
            assert inode.mode == stat.S_IMODE(status.st_mode), name
        if inode.kind == "l":
            assert inode.target == os.fsencode(os.readlink(path))
        if inode.kind == "f":
            assert inode.size == status.st_size
            assert content(image, inode) == path.read_bytes()
            assert not links or inode.nlink == status.st_nlink
        if xattrs:
            names = os.listxattr(path, follow_symlinks=False)
            values = {os.fsencode(each): os.getxattr(path, each) for each in names}
            if not root:  # gensquashfs leaves out empty values
                values = {name: value for name, value in values.items() if value}
            assert dict(image.xattrs(inode)) == values
    if links:
        assert paths["small"].reference == paths["second name"].reference


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_compressors(tree: Path, tmp_path: Path, compressor: str) -> None:
    with opened(mksquashfs(tree, tmp_path / "x.sqfs", "-comp", compressor)) as image:
        check_tree(image, tree)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(tree: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    with opened(mksquashfs(tree, tmp_path / "x.sqfs", *options)) as image:
        check_tree(image, tree, xattrs="-no-xattrs" not in options)
        if "-b" in options:
            assert image.block_size == int(options[options.index("-b") + 1])


def test_tar2sqfs(tree: Path, tmp_path: Path) -> None:
    """The other family of programs; it writes no attribute of a directory that a tar lacks."""
    tar = subprocess.run(
        ["tar", "-C", tree, "--xattrs", "--format=pax", "-cf", "-", "."],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    subprocess.run(["tar2sqfs", "-q", tmp_path / "x.sqfs"], input=tar, check=True)
    with opened(tmp_path / "x.sqfs") as image:
        check_tree(image, tree)


def test_gensquashfs(tree: Path, tmp_path: Path) -> None:
    """It gives the root times and modes of its own, and makes two files of a hard link."""
    run("gensquashfs", "-q", "-k", "-x", "-D", tree, tmp_path / "x.sqfs")
    with opened(tmp_path / "x.sqfs") as image:
        check_tree(image, tree, links=False, root=False)


def test_what_only_root_can_make(tree: Path, tmp_path: Path) -> None:
    """Devices, owners, FIFOs and sockets, as ``sqfs2tar`` and ``unsquashfs`` see them."""
    (tmp_path / "pseudo").write_text(PSEUDO)
    path = mksquashfs(tree / "a", tmp_path / "x.sqfs", "-pf", str(tmp_path / "pseudo"))
    listed = run("unsquashfs", "-lln", path)
    with opened(path) as image:
        paths = found(image)
        records = dict(owner_records(image))
        assert content(image, paths["owned"]) == b"owned\n"
    assert (paths["socket"].kind, paths["fifo"].kind) == ("s", "p")
    assert paths["dev/disk"].rdev == os.makedev(259, 70000)
    for name, inode in paths.items():
        line = next(
            each
            for each in listed.splitlines()
            if each.endswith(f"squashfs-root/{name}".rstrip("/"))
        )
        assert line[1:10] == stat.filemode(inode.mode)[1:], line
        assert f"{inode.uid}/{inode.gid} " in line
    mine = OwnerRecord("d", os.getuid(), os.getgid())
    assert records == {
        **dict.fromkeys([b"", b"b", b"b/c"], mine),
        b"dev/null": OwnerRecord("c", rdev=os.makedev(1, 3)),
        b"dev/disk": OwnerRecord("b", 0, 6, rdev=os.makedev(259, 70000)),
        b"owned": OwnerRecord("f", 1000, 70000),
        b"fifo": OwnerRecord("p", 5, 6),
    }
    data = subprocess.run(["sqfs2tar", path], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {each.name: each for each in tar}
    assert members["owned"].uid == 1000
    assert members["dev/disk"].devminor == 70000


def test_capabilities_are_in_the_records(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    header = tarfile.TarInfo("ping")
    header.pax_headers = {
        "SCHILY.xattr.security.capability": capability.decode("latin-1"),
        "SCHILY.xattr.user.mine": "1",
    }
    assert capability.isascii()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(header)
    subprocess.run(["tar2sqfs", "-q", tmp_path / "x.sqfs"], input=out.getvalue(), check=True)
    with opened(tmp_path / "x.sqfs") as image:
        assert dict(owner_records(image)) == {
            b"ping": OwnerRecord("f", xattrs=((b"security.capability", capability),))
        }
        assert (b"user.mine", b"1") in image.xattrs(found(image)["ping"])


def test_a_file_behind_other_data(tree: Path, tmp_path: Path) -> None:
    path = mksquashfs(tree / "a", tmp_path / "x.sqfs")
    (tmp_path / "sif").write_bytes(b"#!" * 5000 + path.read_bytes() + b"more")
    with opened(tmp_path / "sif", 10000) as image:
        assert set(found(image)) == {"", "b", "b/c"}


@pytest.mark.parametrize("size", [4096, 1 << 20])
def test_reads_at_any_offset(tree: Path, tmp_path: Path, size: int) -> None:
    path = mksquashfs(tree, tmp_path / "x.sqfs", "-b", str(size), "-comp", "zstd")
    with opened(path) as image:
        paths = found(image)
        for name in ("text", "sparse", "noise", "small", "empty"):
            whole = (tree / name).read_bytes()
            for at in (0, 1, 4095, 4096, 100_000, 262_144, len(whole) - 1, len(whole), 1 << 40):
                for count in (0, 1, 4096, 70_000, 1 << 20):
                    got = b"".join(image.read(paths[name], max(at, 0), count))
                    assert got == whole[max(at, 0) :][:count]


def test_holes(tree: Path, tmp_path: Path) -> None:
    with opened(mksquashfs(tree, tmp_path / "x.sqfs", "-b", "4096")) as image:
        paths = found(image)
        assert list(image.holes(paths["holes"])) == [(0, 3 << 20)]
        first, second = image.holes(paths["sparse"])
        assert first == (0, 2_500_000 & ~4095)
        assert second[0] == (2_500_003 | 4095) + 1
        assert list(image.holes(paths["text"])) == []


@pytest.mark.slow
def test_blocks_in_many_groups(tmp_path: Path) -> None:
    """A file of 4 KiB blocks, whose positions are read in groups, from its end to its start."""
    (tmp_path / "tree").mkdir()
    data = array("I", range(4_400_000)).tobytes()
    (tmp_path / "tree" / "long").write_bytes(data)
    path = mksquashfs(tmp_path / "tree", tmp_path / "x.sqfs", "-b", "4096", "-comp", "zstd")
    with opened(path) as image:
        inode = found(image)["long"]
        for at in range(len(data) - 5, 0, -999_983):
            assert b"".join(image.read(inode, at, 10_000)) == data[at : at + 10_000]


def test_threads_share_an_image(tree: Path, tmp_path: Path) -> None:
    path = mksquashfs(tree, tmp_path / "x.sqfs", "-b", "4096")
    with opened(path) as image, ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(check_tree, image, tree) for _ in range(4)]:
            task.result()


def preads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each later pread(2) appends its size."""
    sizes: list[int] = []
    original = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return original(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    return sizes


def empty_files(tree: Path, count: int) -> Path:
    """Make a tree with one directory of empty files."""
    (tree / "directory").mkdir(parents=True)
    for number in range(count):
        os.mknod(tree / "directory" / f"file-{number:06}")
    return tree


def test_opening_costs_the_same_for_any_number_of_inodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    for count in (10, 5000):
        path = mksquashfs(empty_files(tmp_path / str(count), count), tmp_path / f"{count}.sqfs")
        sizes = preads(monkeypatch)
        with opened(path):
            costs.append((len(sizes), sum(size <= 8194 for size in sizes)))
        monkeypatch.undo()
    assert costs[0] == costs[1]
    assert costs[0][0] == costs[0][1] < 8


@pytest.mark.slow
def test_a_directory_of_100000_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:  # a disk takes half a minute
        path = mksquashfs(empty_files(Path(memory), 100_000), tmp_path / "x.sqfs")
    with opened(path) as image:
        directory = image.inode(image.lookup(image.inode(image.root), b"directory") or 0)
        sizes = preads(monkeypatch)
        assert image.lookup(directory, b"file-050000")
        assert image.lookup(directory, b"file-050000x") is None
        assert len(sizes) < 10  # of 240 blocks
        entries = list(image.entries(directory))
        assert [entry[0] for entry in entries] == [b"file-%06d" % each for each in range(100_000)]
        middle = entries[70_000][3]
        assert list(image.entries(directory, middle)) == entries[70_001:]


def test_a_long_directory_without_an_index(tmp_path: Path) -> None:
    path = mksquashfs(empty_files(tmp_path / "tree", 5000), tmp_path / "x.sqfs")
    with opened(path) as image, opened(path) as other:
        reference = image.lookup(image.inode(image.root), b"directory") or 0
        directory = image.inode(reference)
        assert directory.indexes
        entries = list(image.entries(directory))
        directory = other.inode(reference)
        directory.indexes = 0
        assert list(other.entries(directory)) == entries
        assert list(other.entries(directory, entries[3000][3])) == entries[3001:]
        for name, inode, _, _ in entries:
            assert other.lookup(directory, name) == inode
        assert other.lookup(directory, b"file-00000") is None


def test_imports_are_light() -> None:
    code = "import sundog.runtime.squashfs.image, sys; print(*sys.modules)"
    heavy = {"re", "enum", "typing", "dataclasses", "struct", "lzma", "zlib", "ctypes"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert not heavy & set(done.stdout.split())


NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: name not in (b".", b"..") and not {0, 47, 10} & set(name)
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, st.binary(max_size=9000), max_size=20), st.sampled_from(COMPRESSORS))
def test_any_names_and_contents(
    tmp_path_factory: pytest.TempPathFactory, files: dict[bytes, bytes], compressor: str
) -> None:
    place = tmp_path_factory.mktemp("any")
    (place / "tree").mkdir()
    for name, data in files.items():
        with open(os.fsencode(place / "tree") + b"/" + name, "wb") as file:
            file.write(data)
    with opened(
        mksquashfs(place / "tree", place / "x.sqfs", "-comp", compressor, "-b", "4096")
    ) as image:
        read = {
            os.fsencode(name): content(image, each) for name, each in found(image).items() if name
        }
    assert read == files
