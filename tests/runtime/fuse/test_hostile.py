"""Hostile SquashFS files: which of their names and attributes reach the kernel."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from typing import TYPE_CHECKING, cast

import pytest

from sundog.base.record.owners import read_owners
from sundog.errors import SundogError
from sundog.runtime.fuse import records
from sundog.runtime.fuse.channel import Channel, make_channel
from sundog.runtime.fuse.files import ImageFiles
from sundog.runtime.fuse.protocol import (
    ATTRIBUTES,
    DIRENT,
    ENTRY_OUT,
    GETXATTR,
    LISTXATTR,
    LOOKUP,
    READ_IN,
    READDIR,
    READDIRPLUS,
    ROOT_ID,
    XATTR,
)
from sundog.runtime.fuse.records import write_records
from sundog.runtime.squashfs.image import SquashfsImage
from tests.runtime.fuse.conftest import make_squashfs
from tests.runtime.launcher.conftest import messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sundog.runtime.squashfs.inode import Inode
    from tests.runtime.fuse.conftest import Containers

BAD_NAMES = [b"", b".", b"..", b"a/b", b"/", b"a\0b", b"n" * 256, b"n" * 300]
HIDDEN = {
    "user.overlay.opaque": "y",
    "user.overlay.whiteout": "y",
    "user.overlay.redirect": "/etc",
    "user.overlay.metacopy": "1",
    "trusted.overlay.opaque": "y",
    "trusted.mine": "1",
    "security.selinux": "x",
}


class BadNames(SquashfsImage):
    """An image whose reader lets every name through."""

    __slots__ = ()

    def entries(self, _: Inode, start: int = 0) -> Iterator[tuple[bytes, int, str, int]]:
        """Yield bad names between good ones."""
        first = self.root
        for number, name in enumerate([b"good", *BAD_NAMES, b"too"], 1):
            if number > start:
                yield name, first, "d", number

    def lookup(self, _: Inode, name: bytes) -> int | None:
        """Fail: nobody may ask for a bad name."""
        raise AssertionError(name)


def names_in(answer: bytes, head: int) -> list[bytes]:
    """Return the names in the answer to a request for the entries of a directory."""
    names, at = [], 0
    while at < len(answer):
        _, _, length, _ = DIRENT.unpack_from(answer, at + head)
        start = at + head + DIRENT.size
        names.append(answer[start : start + length])
        at = -(-(start + length) // 8) * 8
    return names


@pytest.fixture
def small(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "small").mkdir()
    fd = os.open(make_squashfs(tmp_path / "small", tmp_path / "file", "-all-root"), os.O_RDONLY)
    yield fd
    os.close(fd)


def test_bad_names_never_reach_the_kernel(small: int) -> None:
    files = ImageFiles(BadNames(small), 0, 0, 4096)
    request = memoryview(READ_IN.pack(0, 0, 1 << 16) + bytes(20))
    for opcode, head in ((READDIR, 0), (READDIRPLUS, ENTRY_OUT.size + ATTRIBUTES.size)):
        answer = b"".join(files.handlers[opcode](ROOT_ID, request))
        assert names_in(answer, head) == [b".", b"..", b"good", b"too"]
    for name in BAD_NAMES:
        body = memoryview(name + b"\0")
        if len(name) > 255:
            with pytest.raises(OSError, match="longer than a name can be"):
                files.handlers[LOOKUP](ROOT_ID, body)
        else:
            answer = b"".join(files.handlers[LOOKUP](ROOT_ID, body))
            assert ENTRY_OUT.unpack_from(answer)[0] == 0  # no such name


class Endless(SquashfsImage):
    """An image with more and more names; directories of a hostile image may share them."""

    __slots__ = ()

    def entries(self, _: Inode, start: int = 0) -> Iterator[tuple[bytes, int, str, int]]:
        """Yield names for ever; none of them is a directory's."""
        file = self.lookup(self.inode(self.root), b"file")
        assert file is not None
        number = start
        while True:
            number += 1
            yield b"%d" % number, file, "f", number


def test_records_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").touch()
    fd = os.open(make_squashfs(tmp_path / "tree", tmp_path / "image"), os.O_RDONLY)
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(records, "PATHS_LIMIT", 5000)
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        return False

    with pytest.raises(SundogError, match="too many files or owners"):
        write_records(Endless(fd), ask)
    assert len(asked) == 5
    with pytest.raises(SundogError, match="nobody waits"):
        write_records(Endless(fd), lambda: True)
    assert os.listdir("/proc/self/fd") == before
    os.close(fd)


def test_the_server_sees_the_end_of_ch_run() -> None:
    ours, theirs = map(Channel, make_channel())
    assert not theirs.is_closed()
    ours.send(b"message")
    ours.close()
    assert not theirs.is_closed()
    assert theirs.receive() == (b"message", -1)
    assert theirs.is_closed()
    theirs.close()


@pytest.mark.parametrize("name", [b"..\0ame", b"..", b"a/b", b"\0"])
def test_a_directory_with_a_bad_name(
    containers: Containers, image: Path, tmp_path: Path, name: bytes
) -> None:
    """The container sees an error of that directory, and the rest of the file."""
    good = b"n" * max(len(name), 2)
    name = name.ljust(2, b"/")
    data = tmp_path / "data"
    (data / "bad" / os.fsdecode(good)).mkdir(parents=True)
    (data / "fine").write_text("fine\n")
    file = make_squashfs(data, tmp_path / "file", "-no-compression")
    content = file.read_bytes()
    assert content.count(good) == 1
    file.write_bytes(content.replace(good, name))
    script = "cat /mnt/fine; ls -a /mnt/bad; ls -d /mnt/bad/*"
    done = containers.run("-b", f"{file}:/mnt", image, "--", "sh", "-c", script)
    assert done.stdout == b"fine\n"
    assert b"/mnt/bad: I/O error" in done.stderr or b"Input/output error" in done.stderr
    done = containers.run("--notify", file, "--", "true")
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


# Extended attributes


@pytest.fixture
def attributes(image: Path, tmp_path: Path) -> Path:
    """Return an image with attributes that overlayfs would obey, and one other."""
    (image / "etc/file").write_text("shown\n")
    (image / "etc/deep").mkdir()
    pseudo = [
        f"{path} x {name}={value}"
        for path in ("etc", "etc/file", "etc/deep")
        for name, value in HIDDEN.items()
    ]
    pseudo += ["etc/file x user.mine=1", "etc/deep x user.mine=1"]
    return make_squashfs(image, tmp_path / "attributes", "-xattrs", pseudo=pseudo)


def test_only_attributes_of_the_user_are_shown(attributes: Path) -> None:
    fd = os.open(attributes, os.O_RDONLY)
    image = SquashfsImage(fd)
    files = ImageFiles(image, 0, 0, 4096)

    def child(node: int, name: bytes) -> int:
        answer = b"".join(files.handlers[LOOKUP](node, memoryview(name + b"\0")))
        return cast("int", ENTRY_OUT.unpack_from(answer)[0])

    etc = child(ROOT_ID, b"etc")
    node = child(etc, b"file")
    reference = image.lookup(image.inode(image.root), b"etc")
    assert reference is not None
    stored = {name.decode() for name, _ in image.xattrs(image.inode(reference))}
    assert stored == set(HIDDEN)
    request = memoryview(XATTR.pack(1000, 0))
    assert b"".join(files.handlers[LISTXATTR](node, request)) == b"user.mine\0"
    assert b"".join(files.handlers[LISTXATTR](etc, request)) == b""
    for name in HIDDEN:
        with pytest.raises(OSError, match="no such attribute"):
            files.handlers[GETXATTR](node, memoryview(bytes(request) + name.encode() + b"\0"))
    os.close(fd)


@pytest.mark.parametrize("options", [(), ("-W",), ("-b", "/proc:/new")])
def test_an_overlay_on_top_obeys_nothing_of_the_file(
    containers: Containers, attributes: Path, options: tuple[str, ...]
) -> None:
    script = "cat /etc/file; ls /etc/deep; ls /etc; busybox getfattr -d /etc/file /etc /etc/deep"
    plain = containers.output(attributes, "--", "sh", "-c", script)
    assert plain.startswith("shown\n")
    assert "deep\nfile\n" in plain
    assert plain.count("user.mine=") == 2
    assert "overlay" not in plain
    assert "trusted" not in plain
    assert containers.output(*options, attributes, "--", "sh", "-c", script) == plain


# Capabilities, and the device


@pytest.mark.parametrize("writes", [(), ("-W",)])
def test_notify_shows_capabilities(
    containers: Containers, image: Path, tmp_path: Path, writes: tuple[str, ...]
) -> None:
    (image / "bin/ping").touch()
    value = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep
    pseudo = [f"bin/ping x security.capability=0x{value.hex()}"]
    file = make_squashfs(image, tmp_path / "file", pseudo=pseudo)
    fd = os.open(file, os.O_RDONLY)
    written = write_records(SquashfsImage(fd), lambda: False)
    recorded = read_owners(b"/proc/self/fd/%d" % written)[b"bin/ping"]
    assert recorded.xattrs == ((b"security.capability", value),)
    os.close(written)
    os.close(fd)
    script = "busybox getfattr -n security.capability /bin/ping"
    shown = containers.output("--notify", *writes, file, "--", "sh", "-c", script)
    assert "security.capability=" in shown
    done = containers.run(file, "--", "sh", "-c", script)
    assert done.returncode != 0  # without --notify there is none


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EACCES, "this user may not open /dev/fuse: Permission denied"),
        (errno.EPERM, "something forbids this user to open or mount FUSE: Operation not permitted"),
        (errno.ENODEV, "the kernel has no FUSE: No such device"),
        (errno.ENXIO, "the kernel has no FUSE: No such device or address"),
    ],
)
def test_a_device_that_cannot_be_opened(
    containers: Containers, squashfs: Path, number: int, cause: str
) -> None:
    name = errno.errorcode[number]
    done = subprocess.run(
        [
            *("strace", "-qq", "-f", "-o", "/dev/null", "-P", "/dev/fuse"),
            *("-e", f"inject=openat:error={name}", containers.command, squashfs, "--", "true"),
        ],
        env=containers.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 31
    unpack = f"unpack the image once, and run the directory: ch-convert {squashfs} DIR"
    assert [line.partition(": ")[2] for line in done.stderr.splitlines()] == [
        f"error: can't mount {squashfs}: {cause}",
        f"hint: {unpack} (ch-checkns --all says more)",
    ]


@pytest.mark.parametrize("make", ["mknod /dev/fuse p", ": >/dev/fuse"])
def test_another_file_in_place_of_the_device(
    containers: Containers, squashfs: Path, make: str
) -> None:
    script = f"mount -t tmpfs none /dev; for f in null zero; do :>/dev/$f; done; {make}; "
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script + f"exec {containers.command} {squashfs} -- true"],
        env=containers.environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 31
    error, hint = messages(done)
    assert error == f"error: can't mount {squashfs}: FUSE can't be mounted: Invalid argument"
    assert hint.startswith("hint: unpack the image once")


# What the command has open


@pytest.mark.parametrize(
    "options",
    [
        ("{file}",),
        ("-W", "{file}"),
        ("--notify", "{file}"),
        ("--notify", "-W", "{file}"),
        ("-b", "{file}:/mnt", "-b", "{file}:/new/", "{directory}"),
        ("-b", "{file}:/mnt/{name}", "{file}"),
        ("-m", "/mnt", "-b", "/mnt/bin:/new", "{file}"),
        ("--join-tag={name}-{pid}", "{file}"),
    ],
)
def test_the_command_has_nothing_of_ours_open(
    containers: Containers, squashfs: Path, image: Path, options: tuple[str, ...]
) -> None:
    """The program ls opens the directory that it lists, as 3."""
    words = [
        word.format(file=squashfs, directory=image, name=squashfs.name, pid=os.getpid())
        for word in options
    ]
    script = "exec busybox ls /proc/self/fd"
    assert containers.output(*words, "--", "sh", "-c", script).split() == ["0", "1", "2", "3"]
