"""Locks by files: what they exclude, who holds them, and where they take the place of flock(2)."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sundog.base.kernel.living_process import start_time
from sundog.base.kernel.refusal import mount_at
from sundog.base.kernel.sharing import is_shared
from sundog.errors import StoreError
from sundog.image.store import claims as claims_module
from sundog.image.store import locks
from sundog.image.store.claims import SECONDS_VARIABLE, ClaimLocks
from sundog.image.store.heartbeat import Heartbeat
from sundog.image.store.locks import CLAIMS, KernelLocks, TurnLock, are_seen_by_all
from sundog.image.store.store import Store
from tests.image.store.test_locks import users_share_and_a_remover_is_alone

ANOTHER_NODE = "0123456789abcdef"
NOW = fcntl.LOCK_EX | fcntl.LOCK_NB
# The program takes a lock, says so, and waits to be killed.
HOLDER = """
import fcntl, os, sys, time
from sundog.image.store.claims import ClaimLocks
store = sys.argv[1].encode()
held = ClaimLocks(store, store + b"/locks/claims").open(store + b"/file", fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "locks/claims").mkdir(parents=True)
    (tmp_path / "file").touch()
    return tmp_path


def claims_of(store: Path) -> ClaimLocks:
    return ClaimLocks(os.fsencode(store), os.fsencode(store / "locks/claims"))


@pytest.fixture
def claims(store: Path) -> Iterator[ClaimLocks]:
    locks = claims_of(store)
    yield locks
    locks.close()
    assert os.listdir(store / "locks/claims") == []


def stranger(store: Path, kind: str = "x", *, age: float = 0, seconds: int = 60) -> Path:
    """Make a claim of a process on another node; return its heartbeat, as old as ``age``."""
    heartbeat = store / "locks/claims" / f"{ANOTHER_NODE},7,77,{seconds},cafe"
    heartbeat.touch()
    (heartbeat.parent / f"file,{kind},0,{heartbeat.name}").touch()
    then = time.time() - age
    os.utime(heartbeat, (then, then))
    return heartbeat


def test_users_share_and_a_remover_is_alone(store: Path, claims: ClaimLocks) -> None:
    users_share_and_a_remover_is_alone(claims, os.fsencode(store / "file"))


def test_another_process_of_this_node(store: Path, claims: ClaimLocks) -> None:
    """As with flock(2), its lock is free at once when it is killed."""
    path = os.fsencode(store / "file")
    with subprocess.Popen([sys.executable, "-c", HOLDER, store], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            claims.open(path, NOW)
        with claims.open(path + b"2", NOW, create=True):
            pass
        holder.kill()
        holder.wait()
        claims.open(path, NOW).release()


def test_a_process_that_proc_hides(
    store: Path, claims: ClaimLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives as long as its heartbeat is young, as a process of another node does."""
    path, words = os.fsencode(store / "file"), [sys.executable, "-c", HOLDER, str(store)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder, ExitStack() as stack:
        stack.callback(holder.kill)
        assert holder.stdout is not None
        holder.stdout.readline()
        (heartbeat,) = (
            one for one in (store / "locks/claims").iterdir() if one.name.count(",") == 4
        )
        monkeypatch.setattr(
            claims_module, "start_time", lambda pid: None if pid == holder.pid else start_time(pid)
        )
        monkeypatch.setattr(
            claims_module, "is_hidden", lambda pid: pid == holder.pid, raising=False
        )
        with pytest.raises(BlockingIOError):
            claims.open(path, NOW)
        os.utime(heartbeat, (time.time() - 70,) * 2)
        claims.open(path, NOW).release()


def test_who_was_suspended_takes_no_other_process_for_dead(
    store: Path, claims: ClaimLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked at the other one's heartbeat before a pause, and at its own after it."""
    heartbeat = stranger(store, age=10)
    renew = Heartbeat.renew

    def renew_after_pause(own: Heartbeat) -> float:
        renew(own)
        late = time.time() + 55
        for path in (heartbeat, own.path):  # the other one has renewed its own meanwhile
            os.utime(path, (late, late))
        return late

    with monkeypatch.context() as context:
        context.setattr(Heartbeat, "renew", renew_after_pause)
        with pytest.raises(BlockingIOError):
            claims.open(os.fsencode(store / "file"), NOW)
    heartbeat.unlink()
    claims.sweep()


def test_a_sign_that_another_node_removes_at_this_moment(
    store: Path, claims: ClaimLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS calls the open file stale."""
    heartbeat = stranger(store)
    inode, fstat = heartbeat.stat().st_ino, os.fstat

    def stale(fd: int) -> os.stat_result:
        found = fstat(fd)
        if found.st_ino == inode:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return found

    monkeypatch.setattr(os, "fstat", stale)
    claims.open(os.fsencode(store / "file"), NOW).release()


def test_an_interrupted_claim_is_taken_back(
    store: Path, claims: ClaimLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.fsencode(store / "file")
    stranger(store, "s")

    def look(_key: str, _kind: str, own: str = "") -> bool:
        if own:
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as context:
        context.setattr(claims, "_is_in_the_way", look)
        with pytest.raises(KeyboardInterrupt):
            claims.open(path, NOW)
    assert not [name for name in os.listdir(store / "locks/claims") if ",x," in name]
    stranger(store, "s", age=70)
    claims.sweep()


def test_a_turn_ends_without_its_file(store: Path, claims: ClaimLocks) -> None:
    turn = TurnLock(claims, os.fsencode(store), "name")
    with turn.held(lambda: None):
        (store / "turn-name").unlink()
    assert len(os.listdir(store / "locks/claims")) == 1


@pytest.mark.parametrize("kind", ["x", "s"])
def test_a_claim_of_another_node_counts_while_its_sign_is_young(
    store: Path, claims: ClaimLocks, kind: str
) -> None:
    path = os.fsencode(store / "file")
    heartbeat = stranger(store, kind, age=50)
    with pytest.raises(BlockingIOError):
        claims.open(path, NOW)
    if kind == "s":
        claims.open(path, fcntl.LOCK_SH | fcntl.LOCK_NB).release()
    stranger(store, kind, age=70)
    claims.open(path, NOW).release()
    assert not heartbeat.exists()


def test_each_process_sets_its_own_bound(store: Path, claims: ClaimLocks) -> None:
    path = os.fsencode(store / "file")
    heartbeat = stranger(store, age=70, seconds=600)
    with pytest.raises(BlockingIOError):
        claims.open(path, NOW)
    heartbeat.unlink()  # now it has ended
    claims.open(path, NOW).release()


def test_a_waiting_process_gets_the_lock_of_a_node_that_died(
    store: Path, claims: ClaimLocks
) -> None:
    stranger(store, seconds=1)
    start = time.monotonic()
    claims.open(os.fsencode(store / "file"), fcntl.LOCK_EX).release()
    assert 0.9 <= time.monotonic() - start < 10


def test_the_locked_file_is_at_its_path(store: Path, claims: ClaimLocks) -> None:
    path = os.fsencode(store / "gone")
    with pytest.raises(FileNotFoundError):
        claims.open(path, NOW)
    with claims.open(path, NOW, create=True) as held:
        assert os.fstat(held.fd).st_ino == os.stat(path).st_ino


def test_a_sign_is_renewed_and_ends_with_its_process(tmp_path: Path) -> None:
    heartbeat = Heartbeat(os.fsencode(tmp_path / "heartbeat"), 1)
    first = os.stat(heartbeat.path).st_mtime_ns
    deadline = time.monotonic() + 20
    while os.stat(heartbeat.path).st_mtime_ns == first:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    heartbeat.renew()
    heartbeat.close()
    assert not os.path.exists(heartbeat.path)


def test_who_was_taken_for_dead_is_told_and_killed(store: Path) -> None:
    environ = os.environ | {SECONDS_VARIABLE: "1"}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, store],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        for heartbeat in (store / "locks/claims").iterdir():
            heartbeat.unlink()
        assert holder.wait(20) == -signal.SIGKILL
        assert holder.stderr is not None
        assert b"error: another node has taken the locks of this command" in holder.stderr.read()


def test_what_is_put_in_place_needs_the_locks(store: Path) -> None:
    claims = claims_of(store)
    claims.confirm()  # without locks there is nothing to lose
    with claims.open(os.fsencode(store / "file"), NOW):
        claims.confirm()
        for heartbeat in (store / "locks/claims").iterdir():
            heartbeat.unlink()
        with pytest.raises(StoreError, match="another node has taken the locks"):
            claims.confirm()
    # Its child is about to kill this process.
    claims.close()


def test_sweep_leaves_what_it_does_not_know_and_the_living(store: Path, claims: ClaimLocks) -> None:
    place = store / "locks/claims"
    (place / "readme").touch()
    (place / "a,b,c,d,e").touch()
    stranger(store)
    with claims.open(os.fsencode(store / "file2"), NOW, create=True):
        before = set(os.listdir(place))
        claims.sweep()
        assert set(os.listdir(place)) == before - {"a,b,c,d,e"}
        stranger(store, age=70)
        claims.sweep()
        assert not [name for name in os.listdir(place) if ANOTHER_NODE in name]
    (place / "readme").unlink()


def test_the_directory_of_claims_is_gone(store: Path) -> None:
    (store / "locks/claims").rmdir()
    claims = claims_of(store)
    with pytest.raises(StoreError, match="directory of locks is gone"):
        claims.open(os.fsencode(store / "file"), NOW)
    claims.close()


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "1.5", "x", "²", "\x1b[31m", "86401", pytest.param("9" * 5000, id="digits")],
)
def test_bad_bound(store: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, text)
    with pytest.raises(StoreError, match=f"{SECONDS_VARIABLE} is not a number of seconds") as error:
        claims_of(store)
    assert "\x1b" not in error.value.message


# Where they take the place of flock(2)


@pytest.mark.parametrize(
    ("fstype", "options", "are_seen"),
    [
        ("nfs", "rw,vers=3,hard,local_lock=none,addr=10.0.0.1", True),
        ("nfs", "rw,vers=3,nolock,local_lock=all", False),
        ("nfs", "rw,vers=3,local_lock=flock", False),
        ("nfs", "rw,vers=3,local_lock=posix", True),
        ("nfs4", "rw,vers=4.2,hard,proto=tcp,local_lock=none", True),
        ("lustre", "rw,flock,user_xattr,lazystatfs", True),
        ("lustre", "rw,localflock,user_xattr", False),
        ("lustre", "rw,user_xattr", False),
        ("ceph", "rw,name=admin,secret=<hidden>", True),
        ("gpfs", "rw,dev=scratch", False),
        ("beegfs", "rw,cfgFile=/etc/beegfs/beegfs-client.conf", False),
        ("fuse", "rw,user_id=1000,group_id=1000", False),
    ],
)
def test_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fstype: str, options: str, *, are_seen: bool
) -> None:
    mount = ("1", b"/", fstype, options)
    monkeypatch.setattr(locks, "mount_at", lambda _: mount)
    file = tmp_path / "use"
    file.touch()
    assert are_seen_by_all(os.fsencode(tmp_path), os.fsencode(file)) == are_seen


@pytest.mark.parametrize("driver", ["overlay"])
def test_a_store_of_one_node_has_neither_claims_nor_notes(driver: str, storage: Path) -> None:
    assert not is_shared(os.fsencode(storage.parent), os.stat(storage.parent))
    with Store.open(str(storage), driver=driver) as store:
        store.hold()
        assert isinstance(store._storage.locks, KernelLocks)
        assert not os.path.exists(store.at(CLAIMS))
    assert not (storage / "running").exists()


def test_a_store_that_cannot_be_written_is_read_without_claims(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "is_shared", lambda *_: True)
    with Store.open(str(storage), driver="overlay") as store:
        assert isinstance(store._storage.locks, ClaimLocks)
    place = storage / "locks/claims"
    place.chmod(0o500)
    with Store.open(str(storage), driver="overlay") as store:
        store.hold()
        assert isinstance(store._storage.locks, KernelLocks)
    place.rmdir()
    place.parent.chmod(0o500)
    with Store.open(str(storage), driver="overlay") as store:
        assert isinstance(store._storage.locks, KernelLocks)
    place.parent.chmod(0o700)


def test_file_systems_without_a_device() -> None:
    """The mount tells: /dev/shm is of this node, /proc is not known to be."""
    shm, proc = mount_at(b"/dev/shm"), mount_at(b"/proc")
    assert shm is not None
    assert proc is not None
    assert (shm[2], proc[2]) == ("tmpfs", "proc")
    assert not is_shared(b"/dev/shm", os.stat("/dev/shm"))
    assert is_shared(b"/proc", os.stat("/proc"))
