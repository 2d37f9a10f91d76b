"""``builder.files.placement``: where COPY puts files, in a directory that stands for the root."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from sundog.errors import BuildError
from sundog.image.builder.files.directories import make_directories
from sundog.image.builder.files.placement import Placer
from sundog.image.builder.files.sources import SourceTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    for name in ("a", "b", "d/x", "d/sub/y"):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    for name in ("etc", "usr/bin", "var"):
        (directory / name).mkdir(parents=True)
    return directory


def place(
    context: Path, root: Path, destination: str, *patterns: str, directory: bool = False
) -> None:
    source_fd = os.open(context, os.O_RDONLY | os.O_DIRECTORY)
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    before = set(os.listdir("/proc/self/fd"))
    try:
        tree = SourceTree.of_context(source_fd)
        Placer(root_fd).place(
            tree, tree.find(patterns), os.fsencode(destination), directory=directory
        )
    finally:
        assert set(os.listdir("/proc/self/fd")) == before  # none is left open
        os.close(source_fd)
        os.close(root_fd)


def contents(root: Path) -> dict[str, str]:
    return {
        os.fspath(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize(
    ("patterns", "destination", "directory", "expected"),
    [
        (["a"], "/new", False, {"new": "a"}),
        (["a"], "/new/deep/er", False, {"new/deep/er": "a"}),
        (["a"], "/new", True, {"new/a": "a"}),
        (["a"], "/etc", False, {"etc/a": "a"}),
        (["a", "b"], "/etc", True, {"etc/a": "a", "etc/b": "b"}),
        (["d"], "/new", False, {"new/x": "d/x", "new/sub/y": "d/sub/y"}),
        (["d"], "/etc", True, {"etc/x": "d/x", "etc/sub/y": "d/sub/y"}),
        (["a", "d"], "/n", True, {"n/a": "a", "n/x": "d/x", "n/sub/y": "d/sub/y"}),
        (["a"], "/", True, {"a": "a"}),
        (["."], "/", False, {"a": "a", "b": "b", "d/x": "d/x", "d/sub/y": "d/sub/y"}),
    ],
)
def test_where_files_go(
    context: Path,
    root: Path,
    patterns: list[str],
    destination: str,
    *,
    directory: bool,
    expected: dict[str, str],
) -> None:
    place(context, root, destination, *patterns, directory=directory)
    assert contents(root) == expected


def test_files_are_replaced_and_neighbours_kept(context: Path, root: Path) -> None:
    (root / "etc/a").write_text("old")
    (root / "etc/keep").write_text("kept")
    place(context, root, "/etc/a", "a")
    assert contents(root) == {"etc/a": "a", "etc/keep": "kept"}


def test_a_lower_hard_link_is_not_written_through(context: Path, root: Path) -> None:
    (root / "etc/a").write_text("old")
    (root / "var/other").hardlink_to(root / "etc/a")
    place(context, root, "/etc/a", "a")
    assert contents(root) == {"etc/a": "a", "var/other": "old"}


def test_modes_and_times_are_kept_whatever_the_umask(context: Path, root: Path) -> None:
    (context / "a").chmod(0o4751)
    (context / "d/sub").chmod(0o2700)
    os.mkfifo(context / "d/fifo")
    (context / "d/fifo").chmod(0o666)
    os.utime(context / "d/sub", (5, 6))
    os.utime(context / "a", (5, 6))
    umask = os.umask(0o077)
    try:
        place(context, root, "/new/a", "a")
        place(context, root, "/new/d", "d")
    finally:
        os.umask(umask)
    modes = {
        os.fspath(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode)
        for path in root.glob("new/**/*")
    }
    assert modes["new/a"] == 0o4751
    assert modes["new/d"] == 0o755
    assert modes["new/d/sub"] == 0o2700
    assert modes["new/d/fifo"] == 0o666
    assert stat.S_IMODE((root / "new").stat().st_mode) == 0o755
    assert (root / "new/a").stat().st_mtime == 6
    assert (root / "new/d/sub").stat().st_mtime == 6


def test_mode_of_an_existing_directory_is_that_of_the_copied_one_below_the_top(
    context: Path, root: Path
) -> None:
    (context / "d").chmod(0o700)
    (context / "d/sub").chmod(0o700)
    (root / "etc/sub").mkdir()
    place(context, root, "/etc", "d")
    assert stat.S_IMODE((root / "etc").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "etc/sub").stat().st_mode) == 0o700


def test_symlinks_in_a_directory_are_copied_as_they_are(context: Path, root: Path) -> None:
    (context / "d/relative").symlink_to("x")
    (context / "d/absolute").symlink_to("/nowhere")
    (root / "etc/relative").symlink_to("/old")
    place(context, root, "/etc", "d")
    assert os.readlink(root / "etc/relative") == "x"
    assert os.readlink(root / "etc/absolute") == "/nowhere"


def test_a_symlink_that_is_a_source_is_followed(context: Path, root: Path) -> None:
    (context / "to-file").symlink_to("a")
    (context / "to-directory").symlink_to("d")
    place(context, root, "/new/", "to-file", "to-directory", directory=True)
    assert contents(root) == {"new/to-file": "a", "new/x": "d/x", "new/sub/y": "d/sub/y"}


def test_hard_links_stay_together(context: Path, root: Path) -> None:
    (context / "d/sub/link").hardlink_to(context / "d/x")
    (context / "d/z").hardlink_to(context / "d/x")
    place(context, root, "/new", "d")
    inodes = {(root / "new" / name).stat().st_ino for name in ("x", "sub/link", "z")}
    assert len(inodes) == 1
    assert (root / "new/x").stat().st_ino != (context / "d/x").stat().st_ino


def test_extended_attributes_come_along(context: Path, root: Path) -> None:
    os.setxattr(context / "d/x", "user.x", b"1")
    os.setxattr(context / "d/sub", "user.y", b"2")
    os.setxattr(context / "d/sub", "user.overlay.opaque", b"y")
    place(context, root, "/new", "d")
    assert os.getxattr(root / "new/x", "user.x") == b"1"
    assert os.listxattr(root / "new/sub") == ["user.y"]


@pytest.mark.parametrize(
    ("link", "target", "lands"),
    [
        ("link", "/etc", "etc/a"),
        ("link", "etc", "etc/a"),
        ("link", "../../../etc", "etc/a"),
        ("link", "/made/by/need", "made/by/need/a"),
        ("usr/link", "../made", "made/a"),
        ("usr/link", "made/../other", "usr/other/a"),
    ],
)
def test_symlinks_of_the_image_lead_within_its_root(
    context: Path, root: Path, link: str, target: str, lands: str
) -> None:
    (root / link).symlink_to(target)
    place(context, root, f"/{link}", "a", directory=True)
    assert contents(root)[lands] == "a"
    assert (root / link).is_symlink()
    assert not os.path.exists("/made")


@pytest.mark.parametrize(
    ("target", "lands"),
    [
        ("/etc/real", "etc/real"),
        ("real", "etc/real"),
        ("/absent/real", "absent/real"),
        ("../../../var/real", "var/real"),
        ("/var", "var/a"),
    ],
)
def test_a_symlink_that_is_the_destination_is_followed(
    context: Path, root: Path, target: str, lands: str
) -> None:
    (root / "etc/link").symlink_to(target)
    (root / "etc/real").write_text("old")
    place(context, root, "/etc/link", "a")
    assert contents(root)[lands] == "a"
    assert (root / "etc/link").is_symlink()


def test_a_directory_can_be_copied_onto_a_symlink_to_one(context: Path, root: Path) -> None:
    (context / "d/bin").mkdir()
    (context / "d/bin/tool").write_text("tool")
    (root / "bin").symlink_to("usr/bin")
    place(context, root, "/", "d")
    assert (root / "usr/bin/tool").read_text() == "tool"
    assert (root / "bin").is_symlink()


@pytest.mark.parametrize("target", ["loop", "/etc/loop/x"])
def test_symlinks_in_a_circle(context: Path, root: Path, target: str) -> None:
    (root / "etc/loop").symlink_to(target)
    with pytest.raises(Exception, match=r"(?i)symlink|symbolic"):
        place(context, root, "/etc/loop/file", "a")


@pytest.mark.parametrize(
    ("patterns", "destination", "message"),
    [
        (["d"], "/file", "not a directory in the image: /file"),
        (["a"], "/file/x", "not a directory in the image: /file"),
        (["d"], "/clash", "can't copy: a directory is in the way: /clash/x"),
        (["d"], "/clash2", "not a directory in the image: /clash2/sub"),
    ],
)
def test_what_does_not_fit(
    context: Path, root: Path, patterns: list[str], destination: str, message: str
) -> None:
    (root / "file").write_text("file")
    (root / "clash/x").mkdir(parents=True)
    (root / "clash2").mkdir()
    (root / "clash2/sub").write_text("file")
    with pytest.raises(BuildError) as caught:
        place(context, root, destination, *patterns)
    assert caught.value.message == message
    assert caught.value.hint


def test_directories_that_are_there_stay_as_they_are(root: Path) -> None:
    (root / "etc").chmod(0o750)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    os.close(make_directories(fd, b"/etc/new"))
    os.close(make_directories(fd, b"/"))
    os.close(fd)
    assert stat.S_IMODE((root / "etc").stat().st_mode) == 0o750
    assert (root / "etc/new").is_dir()
