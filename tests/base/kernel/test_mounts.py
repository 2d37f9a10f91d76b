"""Real mounts in their own namespace."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_NOEXEC,
    MS_NOSUID,
    MS_REC,
    OPEN_TREE_CLONE,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    openat2,
    pivot_root,
    umount2,
)
from sundog.errors import KernelError

from .child import in_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def at_scratch(path: Path, function: Callable[[], object]) -> object:
    """Return what ``function`` returns in an empty tmpfs as working directory."""

    def enter() -> object:
        mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"size=1m")
        os.chdir(path)
        return function()

    return in_namespaces(enter)


def refusal(function: Callable[[], object]) -> tuple[str, str, int]:
    """Return the message, object and errno of the KernelError that ``function`` raises."""
    with pytest.raises(KernelError) as caught:
        function()
    return caught.value.message, caught.value.subject, caught.value.errno


def test_mount_passes_flags_and_data(tmp_path: Path) -> None:
    def attempt() -> tuple[bool, bool, int, str]:
        os.mkdir("m")
        mount(b"none", b"m", b"tmpfs", MS_NOSUID | MS_NOEXEC, b"mode=751,nr_inodes=7")
        state = os.statvfs("m")
        nosuid, rdonly = state.f_flag & os.ST_NOSUID, state.f_flag & os.ST_RDONLY
        return bool(nosuid), bool(rdonly), state.f_files, f"{os.stat('m').st_mode:o}"

    assert at_scratch(tmp_path, attempt) == (True, False, 7, "40751")


def test_mount_names_type_and_target(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str, int]:
        return refusal(lambda: mount(b"none", b"m\xff", b"tmpfs", 0, None))

    message = "can't mount tmpfs on m\\xff: No such file or directory"
    assert at_scratch(tmp_path, attempt) == (message, "m\udcff", errno.ENOENT)


def test_bind_names_source_and_target(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str, int]:
        open("file", "w").close()
        return refusal(lambda: mount(b"file", b".", None, MS_BIND, None))

    assert at_scratch(tmp_path, attempt) == (
        "can't mount file on .: Not a directory",
        ".",
        errno.ENOTDIR,
    )


def test_umount2(tmp_path: Path) -> None:
    def attempt() -> tuple[list[str], str, int]:
        for name in ("m", "m/below"):
            os.mkdir(name)
            mount(b"none", name.encode(), b"tmpfs", 0, None)
        busy = refusal(lambda: umount2(b"m", 0))
        umount2(b"m", MNT_DETACH)
        return os.listdir("m"), busy[0], busy[2]

    busy = "can't umount2 m: Device or resource busy"
    assert at_scratch(tmp_path, attempt) == ([], busy, errno.EBUSY)


def test_move_mount_covers_a_symlink_itself(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str]:
        for name in ("real", "source"):
            with open(name, "w") as file:
                file.write(name)
        os.symlink("real", "link")
        source = open_tree(AT_FDCWD, b"source", OPEN_TREE_CLONE)
        link = os.open("link", os.O_PATH | os.O_NOFOLLOW)
        move_mount(source, b"", link, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        return open("link").read(), open("real").read()

    assert at_scratch(tmp_path, attempt) == ("source", "real")


def test_move_mount_names_the_target_of_a_descriptor(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str, int]:
        os.mkdir("directory")
        open("file", "w").close()
        tree = open_tree(AT_FDCWD, b"directory", OPEN_TREE_CLONE)
        file = os.open("file", os.O_PATH)
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        return refusal(lambda: move_mount(tree, b"", file, b"", flags))

    path = f"{tmp_path}/file"
    message = f"can't move_mount {path}: Invalid argument"
    assert at_scratch(tmp_path, attempt) == (message, path, errno.EINVAL)


def test_mount_setattr_changes_all_below_and_keeps_other_flags(tmp_path: Path) -> None:
    def attempt() -> list[bool]:
        os.mkdir("m")
        mount(b"none", b"m", b"tmpfs", MS_NOEXEC, None)
        os.mkdir("m/below")
        mount(b"none", b"m/below", b"tmpfs", MS_NOSUID, None)
        mount_setattr(AT_FDCWD, b"m", AT_RECURSIVE, MOUNT_ATTR_RDONLY)
        outer, inner = os.statvfs("m").f_flag, os.statvfs("m/below").f_flag
        return [
            bool(outer & os.ST_RDONLY),
            bool(outer & os.ST_NOEXEC),
            bool(inner & os.ST_RDONLY),
            bool(inner & os.ST_NOSUID),
        ]

    assert at_scratch(tmp_path, attempt) == [True, True, True, True]


def test_mount_setattr_of_a_descriptor_names_it(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str, int]:
        os.mkdir("plain")
        fd = os.open("plain", os.O_PATH)
        return refusal(lambda: mount_setattr(fd, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY))

    path = f"{tmp_path}/plain"
    message = f"can't mount_setattr {path}: Invalid argument"
    assert at_scratch(tmp_path, attempt) == (message, path, errno.EINVAL)


def test_openat2_stays_in_its_root(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/hosts").write_text("inside")
    (tmp_path / "root/link").symlink_to("/../../etc/hosts")
    root = os.open(tmp_path / "root", os.O_PATH)
    with open(openat2(root, b"link", os.O_RDONLY, RESOLVE_IN_ROOT)) as file:
        assert file.read() == "inside"
        assert not os.get_inheritable(file.fileno())
    with pytest.raises(KernelError, match="can't openat2 link: Invalid cross-device link"):
        openat2(root, b"link", os.O_RDONLY, RESOLVE_BENEATH)
    with pytest.raises(KernelError, match="Too many levels of symbolic links"):
        openat2(root, b"link", os.O_RDONLY, RESOLVE_NO_SYMLINKS)
    os.close(openat2(root, b"new", os.O_WRONLY | os.O_CREAT, RESOLVE_IN_ROOT, 0o640))
    assert (tmp_path / "root/new").stat().st_mode & 0o777 == 0o640
    os.close(root)


def test_open_tree_is_closed_on_exec(tmp_path: Path) -> None:
    fd = open_tree(AT_FDCWD, os.fsencode(tmp_path), 0)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_open_tree_names_what_it_cannot_open() -> None:
    with pytest.raises(KernelError, match="can't open_tree /no/such: No such file or directory"):
        open_tree(AT_FDCWD, b"/no/such", 0)


def test_pivot_root(tmp_path: Path) -> None:
    def attempt() -> list[str]:
        os.mkdir("inside")
        mount(b".", b".", None, MS_BIND | MS_REC, None)
        os.chdir(tmp_path)
        pivot_root(b".", b".")
        umount2(b".", MNT_DETACH)
        return os.listdir("/")

    assert at_scratch(tmp_path, attempt) == ["inside"]


def test_pivot_root_needs_a_mount(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str, int]:
        os.mkdir("plain")
        return refusal(lambda: pivot_root(b"plain", b"plain"))

    message = "can't pivot_root plain: Invalid argument"
    assert at_scratch(tmp_path, attempt) == (message, "plain", errno.EINVAL)
