"""A directory as a layer: its owners, its special files, its unreadable files."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.mounts import MS_BIND, mount
from sundog.base.record.owners import OwnerRecord, pack_owners
from sundog.errors import SundogError
from sundog.image.layer.import_directory import Imported, foreign_owners, import_directory
from sundog.image.layer.write_tar import write_tar
from tests.image.layer.namespace import in_namespace
from tests.image.layer.trees import look

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.base.record.owners import OwnersManifest


@pytest.fixture
def source(place: bytes) -> bytes:
    path = place + b"/source"
    os.makedirs(path + b"/d/e")
    with open(path + b"/d/file", "w") as out:
        out.write("data\n")
    os.chmod(path + b"/d/file", 0o4750)
    os.setxattr(path + b"/d/file", "user.note", b"hello")
    os.link(path + b"/d/file", path + b"/d/e/hard")
    os.symlink("/d/file", path + b"/absolute")
    os.link(path + b"/absolute", path + b"/absolute2", follow_symlinks=False)
    os.mkfifo(path + b"/fifo", 0o640)
    with open(path + b"/sparse", "wb") as sparse:
        sparse.seek(8 << 20)
        sparse.write(b"end")
    with open(path + b"/\xff\n", "w"):
        pass
    os.chmod(path + b"/d", 0o2711)
    os.utime(path + b"/d", ns=(1, 1_234_567_890_123_456_789))
    os.utime(path + b"/absolute", ns=(1, 987_654_321), follow_symlinks=False)
    return path


def imported(source: bytes, tree: bytes) -> Imported:
    foreign = foreign_owners(source)
    return in_namespace(lambda: import_directory(source, tree, foreign))


def test_everything_is_copied(source: bytes, tree: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(source, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
        expected = look(source)
        del expected[b"socket"]
        result = imported(source, tree)
    assert look(tree) == expected
    assert result.owners == {}
    assert os.stat(tree + b"/sparse").st_blocks * 512 < 1 << 20


def test_the_digest_is_that_of_the_contents(source: bytes, tree: bytes, place: bytes) -> None:
    with open(os.devnull, "wb") as nowhere:
        first = imported(source, tree)
        assert first.digest == write_tar(nowhere, tree, first.owners)
    os.mkdir(place + b"/again")
    assert imported(source, place + b"/again").digest == first.digest
    os.chmod(source + b"/fifo", 0o600)
    os.mkdir(place + b"/changed")
    assert imported(source, place + b"/changed").digest != first.digest


def test_modes_are_no_obstacle_in_the_worker(source: bytes, tree: bytes) -> None:
    os.chmod(source + b"/sparse", 0)
    os.chmod(source + b"/d/e", 0)
    os.chmod(source + b"/d", 0)
    imported(source, tree)
    modes = {p: s.mode for p, s in in_namespace(lambda: look(tree)).items()}
    assert (modes[b"sparse"], modes[b"d"], modes[b"d/e"]) == (0, 0, 0)
    assert modes[b"d/e/hard"] == 0o4750


def test_foreign_owners_of_the_hosts_files() -> None:
    """/etc has files of root, and some of them have another group."""
    found = foreign_owners(b"/etc")
    expected = {}
    for path, _, names in os.walk(b"/etc"):
        for name in names:
            full = os.path.join(path, name)
            status = os.lstat(full)
            if status.st_uid or status.st_gid:
                expected[os.path.relpath(full, b"/etc")] = (status.st_uid, status.st_gid)
    assert {p: o for p, o in found.items() if p in expected} == expected
    assert all(uid or gid for uid, gid in found.values())


def test_foreign_owners_are_recorded(source: bytes, tree: bytes) -> None:
    foreign = {b"d": (0, 42), b"d/file": (7, 8), b"absolute": (9, 0)}
    result = in_namespace(lambda: import_directory(source, tree, foreign))
    assert result.owners == {
        b"d": OwnerRecord("d", 0, 42),
        b"d/file": OwnerRecord("f", 7, 8),
        b"absolute": OwnerRecord("l", 9),
        b"absolute2": OwnerRecord("l", 9),
    } | {b"d/e/hard": OwnerRecord("f", 7, 8)}


def test_own_files_are_roots_whatever_their_group(source: bytes) -> None:
    if os.geteuid() != 0:
        assert foreign_owners(source) == {}
    else:
        os.chown(source + b"/fifo", 0, 42)
        assert foreign_owners(source) == {b"fifo": (0, 42)}


def test_devices_of_the_host_get_a_record(source: bytes, tree: bytes) -> None:
    def work() -> Imported:
        with open(source + b"/null", "w"):
            pass
        mount(b"/dev/null", source + b"/null", None, MS_BIND, None)
        return import_directory(source, tree, {b"null": (0, 6)})

    status = os.stat("/dev/null")
    assert in_namespace(work).owners == {b"null": OwnerRecord("c", 0, 6, rdev=status.st_rdev)}
    copy = os.lstat(tree + b"/null")
    assert stat.S_ISREG(copy.st_mode)
    assert (stat.S_IMODE(copy.st_mode), copy.st_size) == (stat.S_IMODE(status.st_mode), 0)


# A directory with records of its own


def record(source: bytes, records: OwnersManifest) -> None:
    """Write the records of ``ch-run --notify -w``."""
    os.makedirs(source + b"/ch", exist_ok=True)
    with open(source + b"/ch/owners", "wb") as out:
        out.write(pack_owners(records))


ACL = (b"system.posix_acl_access", b"value")
RECORDS = {
    b"": OwnerRecord("d", 1, 2),
    b"d": OwnerRecord("d", 3, 4, xattrs=(ACL,)),
    b"d/file": OwnerRecord("f", 5, 6, xattrs=((b"trusted.a", b"x"),)),
    b"d/e/hard": OwnerRecord("f", 5, 6, xattrs=((b"trusted.a", b"x"),)),
    b"absolute": OwnerRecord("l", 7),
    b"absolute2": OwnerRecord("l", 7),
    b"fifo": OwnerRecord("p", 8, 9),
}


def test_its_records_tell_owners_and_attributes(source: bytes, tree: bytes) -> None:
    expected = look(source)
    record(source, RECORDS)
    result = imported(source, tree)
    assert result.owners == RECORDS
    assert {p: s for p, s in look(tree).items() if p} == {p: s for p, s in expected.items() if p}
    assert not os.path.exists(tree + b"/ch")


def test_its_records_beat_what_the_host_says(source: bytes, tree: bytes) -> None:
    record(source, {b"fifo": OwnerRecord("p", 8, 9)})
    foreign = {b"fifo": (5, 5), b"sparse": (6, 6)}
    result = in_namespace(lambda: import_directory(source, tree, foreign))
    assert result.owners == {b"fifo": OwnerRecord("p", 8, 9), b"sparse": OwnerRecord("f", 6, 6)}


def test_records_on_a_file_system_without_locks_leave_no_open_file(
    source: bytes, tree: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    record(source, RECORDS)
    monkeypatch.setattr(fcntl, "flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No locks"):
        import_directory(source, tree, {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_recorded_devices_are_devices(source: bytes, tree: bytes) -> None:
    with open(source + b"/null", "w") as out:
        out.write("somebody wrote to it")
    os.chmod(source + b"/null", 0o620)
    null = OwnerRecord("c", 0, 6, rdev=os.makedev(1, 3))
    record(source, {b"null": null})
    assert imported(source, tree).owners == {b"null": null}
    copy = os.lstat(tree + b"/null")
    assert (stat.S_IMODE(copy.st_mode), copy.st_size) == (0o620, 0)


def test_records_of_what_is_gone_or_another_kind_say_nothing(source: bytes, tree: bytes) -> None:
    gone = {
        b"gone": OwnerRecord("f", 1),
        b"d": OwnerRecord("f", 2),
        b"fifo": OwnerRecord("c", 3, rdev=os.makedev(1, 3)),
        b"sparse": OwnerRecord("w"),
        b"absolute": OwnerRecord("d", opaque=True),
    }
    record(source, gone)
    assert imported(source, tree).owners == {}


def test_set_id_bits_are_guessed_only_without_records(source: bytes, tree: bytes) -> None:
    def work(to: bytes) -> Imported:
        return in_namespace(lambda: import_directory(source, to, {}, guessed=True))

    guessed = {name: OwnerRecord("f", guessed=True) for name in (b"d/file", b"d/e/hard")}
    guessed[b"d"] = OwnerRecord("d", guessed=True)
    assert work(tree).owners == guessed
    record(source, {})
    os.mkdir(tree + b"-again")
    assert work(tree + b"-again").owners == {}


def test_what_else_is_in_ch_is_copied(source: bytes, tree: bytes) -> None:
    record(source, {b"ch": OwnerRecord("d", 1, 1)})
    for name in (b"/ch/metadata.json", b"/ch/owners.new", b"/ch/owners.new.17"):
        with open(source + name, "w"):
            pass
    assert imported(source, tree).owners == {b"ch": OwnerRecord("d", 1, 1)}
    assert os.listdir(tree + b"/ch") == [b"metadata.json"]


@pytest.mark.parametrize("kind", ["link", "linked directory", "fifo", "directory", "damaged"])
def test_records_that_are_none(source: bytes, tree: bytes, kind: str) -> None:
    record(source, RECORDS)
    path = source + b"/ch/owners"
    if kind == "linked directory":
        os.rename(source + b"/ch", source + b"/there")
        os.symlink("there", source + b"/ch")
    else:
        os.rename(path, source + b"/elsewhere")
    if kind == "link":
        os.symlink("../elsewhere", path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "damaged":
        with open(path, "w") as out:
            out.write("nonsense\n")
    if "link" in kind:
        assert imported(source, tree).owners == {}
        return
    with pytest.raises(
        SundogError, match=r"^can't read who owns what in .*: ch/owners: "
    ) as caught:
        imported(source, tree)
    assert caught.value.hint == "to import the directory without its records, remove that file"


def test_one_that_somebody_writes_to_is_refused(source: bytes, tree: bytes) -> None:
    record(source, RECORDS)
    with open(source + b"/ch/owners") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(SundogError, match="a ch-run --notify -w writes to it"):
            imported(source, tree)
    assert imported(source, tree).owners == RECORDS


def test_records_that_a_writer_replaces_at_the_last_moment_are_read(
    source: bytes, tree: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(source, {b"fifo": OwnerRecord("p", 1, 1)})
    real, records = fcntl.flock, source + b"/ch/owners"

    def flock(fd: int, operation: int) -> None:
        monkeypatch.undo()
        os.unlink(records)
        record(source, RECORDS)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert imported(source, tree).owners == RECORDS


@pytest.mark.skipif(os.geteuid() == 0, reason="kernel: root may read all")
def test_all_that_is_unreadable_is_in_one_error(source: bytes, tree: bytes) -> None:
    for name in (b"/sparse", b"/\xff\n", b"/d"):
        os.chmod(source + name, 0)
    foreign = foreign_owners(source)
    with pytest.raises(SundogError) as caught:  # outside a namespace, modes forbid reading
        import_directory(source, tree, foreign)
    message = str(caught.value)
    assert "cannot read in " in message
    assert message.endswith(": d, sparse, \\xff\n")
    assert caught.value.hint


def test_a_directory_that_contains_the_storage(place: bytes) -> None:
    os.makedirs(place + b"/storage/tmp/tree")
    with pytest.raises(SundogError, match="contains the storage directory"):
        in_namespace(lambda: import_directory(place, place + b"/storage/tmp/tree", {}))


def test_agrees_with_cp(source: bytes, tree: bytes, tmp_path: Path) -> None:
    copy = os.fsencode(tmp_path / "copy")
    subprocess.run(["cp", "-a", os.fsdecode(source), os.fsdecode(copy)], check=True)
    imported(source, tree)
    assert look(tree) == look(copy)
