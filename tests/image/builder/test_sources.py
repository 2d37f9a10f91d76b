"""``builder.files.sources``: the files that COPY's patterns name, and their digest."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.files import Closing
from sundog.errors import BuildError
from sundog.image.builder.files.content import ContentDigest, Source
from sundog.image.builder.files.selection import Selection
from sundog.image.builder.files.sources import SourceTree
from sundog.image.dockerfile.ignore import PathPatterns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    for name in ("a.txt", "b.txt", ".hidden", "d/x.c", "d/y.c", "e/x.c", "e/sub/z", "[odd]*"):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "outside").write_text("secret")
    return directory


@pytest.fixture
def tree(context: Path) -> Iterator[SourceTree]:
    fd = os.open(context, os.O_RDONLY | os.O_DIRECTORY)
    yield SourceTree.of_context(fd)
    os.close(fd)


def found(tree: SourceTree, *patterns: str) -> list[str]:
    return [source.path.decode() for source in tree.find(patterns)]


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (["a.txt"], ["a.txt"]),
        (["/a.txt"], ["a.txt"]),
        (["./d//../a.txt"], ["a.txt"]),
        (["."], [""]),
        (["/"], [""]),
        (["d/"], ["d"]),
        (["b.txt", "a.txt"], ["b.txt", "a.txt"]),
        (["*.txt"], ["a.txt", "b.txt"]),
        (["?.txt", "a*"], ["a.txt", "b.txt", "a.txt"]),
        (["*/x.c"], ["d/x.c", "e/x.c"]),
        (["[d-e]/[^y]*.c"], ["d/x.c", "e/x.c"]),
        (["*"], [".hidden", "[odd]*", "a.txt", "b.txt", "d", "e"]),
        (["\\[odd]\\*"], ["[odd]*"]),
        (["nothing*", "a.txt"], ["a.txt"]),
        (["nothing*"], []),
        ([".."], [""]),
        (["../a.txt", "d/../../../b.txt"], ["a.txt", "b.txt"]),
        (["*/sub/z"], ["e/sub/z"]),
    ],
)
def test_patterns(tree: SourceTree, patterns: list[str], paths: list[str]) -> None:
    assert found(tree, *patterns) == paths


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nothing", "source not found: nothing"),
        ("a.txt/x", "source not found: a.txt/x"),
        ("[a", "malformed pattern: [a"),
        ("../outside", "source not found: ../outside"),
        ("d/../../outside", "source not found: d/../../outside"),
    ],
)
def test_what_cannot_be_copied(tree: SourceTree, pattern: str, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        tree.find([pattern])
    assert caught.value.message == message
    assert caught.value.hint


def test_symlinks_within_the_context_are_followed(context: Path, tree: SourceTree) -> None:
    (context / "link").symlink_to("d")
    (context / "absolute").symlink_to(context / "a.txt")
    assert found(tree, "link/x.c", "absolute") == ["link/x.c", "absolute"]
    fd = tree.open(b"absolute")
    assert os.read(fd, 100) == b"a.txt"
    os.close(fd)


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "d/../../outside"])
def test_symlinks_out_of_the_context_are_refused(
    context: Path, tree: SourceTree, target: str
) -> None:
    (context / "link").symlink_to(target)
    with pytest.raises(BuildError, match="can't copy from outside the context: link"):
        tree.find(["link"])


def test_in_an_image_absolute_symlinks_start_at_its_root(context: Path) -> None:
    (context / "etc").mkdir()
    (context / "etc/passwd").write_text("image's")
    (context / "link").symlink_to("/etc/passwd")
    (context / "up").symlink_to("../../../etc/passwd")
    root = os.open(context, os.O_RDONLY | os.O_DIRECTORY)
    for name in (b"link", b"up"):
        fd = SourceTree.of_image(root).open(name)
        assert os.read(fd, 100) == b"image's"
        os.close(fd)
    os.close(root)


def digest(directory: Path, *patterns: str) -> str:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        tree = SourceTree.of_context(fd)
        return tree.digest(tree.find(patterns or ["."]))
    finally:
        os.close(fd)


def test_digest_does_not_depend_on_times_and_place(context: Path, tmp_path: Path) -> None:
    before = digest(context)
    os.utime(context / "a.txt", (1, 1))
    os.utime(context / "d", (1, 1))
    moved = shutil.copytree(context, tmp_path / "elsewhere", symlinks=True)
    context.chmod(0o700)
    assert digest(context) == digest(moved) == before


def test_digest_of_a_directory_does_not_depend_on_its_name(context: Path) -> None:
    before = digest(context, "d")
    (context / "d").rename(context / "other")
    assert digest(context, "other") == before


def changed_content(context: Path) -> None:
    info = (context / "a.txt").stat()
    (context / "a.txt").write_text("A.TXT")
    os.utime(context / "a.txt", ns=(info.st_atime_ns, info.st_mtime_ns))


def replaced_symlink(context: Path) -> None:
    (context / "a.txt").unlink()
    (context / "a.txt").symlink_to("b.txt")


def hard_link_instead_of_copy(context: Path) -> None:
    (context / "e/x.c").unlink()
    (context / "e/x.c").hardlink_to(context / "d/x.c")


@pytest.mark.parametrize(
    "change",
    [
        changed_content,
        replaced_symlink,
        lambda context: (context / "a.txt").chmod(0o600),
        lambda context: (context / "a.txt").chmod(0o4644),
        lambda context: (context / "d").chmod(0o700),
        lambda context: (context / "a.txt").rename(context / "c.txt"),
        lambda context: (context / "empty").mkdir(),
        lambda context: os.mkfifo(context / "fifo"),
        lambda context: (context / "b.txt").unlink(),
        lambda context: os.setxattr(context / "a.txt", "user.x", b"1"),
    ],
)
def test_digest_depends_on_what_is_copied(context: Path, change: object) -> None:
    before = digest(context)
    assert callable(change)
    change(context)
    assert digest(context) != before


def test_digest_depends_on_hard_links(context: Path) -> None:
    (context / "e/x.c").write_text("d/x.c")
    before = digest(context)
    hard_link_instead_of_copy(context)
    assert digest(context) != before


def test_digest_depends_on_the_target_of_a_symlink(context: Path) -> None:
    (context / "link").symlink_to("a.txt")
    before = digest(context)
    (context / "link").unlink()
    (context / "link").symlink_to("b.txt")
    assert digest(context) != before


def test_digest_of_files_depends_on_their_names_and_order(context: Path) -> None:
    (context / "b.txt").write_text("a.txt")
    assert digest(context, "a.txt") != digest(context, "b.txt")
    assert digest(context, "a.txt", "b.txt") != digest(context, "b.txt", "a.txt")


def test_sockets_are_of_no_account_in_a_directory_and_refused_alone(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(context)  # sun_path holds 108 bytes
    before = digest(context)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert digest(context) == before
        with pytest.raises(BuildError, match="unknown file type: socket"):
            digest(context, "socket")
    os.mkfifo(context / "fifo")
    with pytest.raises(BuildError, match="unknown file type: fifo"):
        digest(context, "fifo")


def test_files_that_cannot_be_read(context: Path, tree: SourceTree) -> None:
    (context / "d/x.c").chmod(0)
    for pattern, path in (("d/x.c", "d/x.c"), ("d", "x.c"), ("e", "sub")):
        if pattern == "e":
            (context / "e/sub").chmod(0)
        with pytest.raises(BuildError) as caught:
            tree.digest(tree.find([pattern]))
        assert caught.value.message == f"can't copy: permission denied: {path}"
    (context / "e/sub").chmod(0o700)


def test_names_that_are_not_utf8(context: Path, tree: SourceTree) -> None:
    name = os.path.join(os.fsencode(context), b"\xff.bin")
    with open(name, "wb") as file:
        file.write(b"x")
    assert [source.path for source in tree.find(["*.bin"])] == [b"\xff.bin"]
    assert [source.path for source in tree.find(["\udcff.bin"])] == [b"\xff.bin"]
    assert digest(context)


def test_the_digest_is_the_same_with_a_list_of_all_names(tmp_path: Path) -> None:
    """The types of entries come from the directory, or from lstat(2) for a list of names."""
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    (below / "file").write_text("text")
    (tmp_path / "a/same").hardlink_to(below / "file")
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "a/link").symlink_to("nowhere")
    os.mkfifo(below / "fifo")
    with socket.socket(socket.AF_UNIX) as server, Closing(os.open(tmp_path, os.O_RDONLY)) as fd:
        server.bind(f"/proc/self/fd/{fd}/socket")  # COPY leaves it out
        listing = Selection("", excluded=PathPatterns(["none"])).listing(fd)
        digests = []
        for each in (None, listing):
            digest = ContentDigest()
            digest.add(fd, Source(b"", b"", each))
            digests.append(digest.value())
    assert digests[0] == digests[1]
    assert len(digests[0].files) == 7
