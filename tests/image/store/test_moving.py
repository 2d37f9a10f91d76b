"""``move``: another place for a storage directory, in one file system or across two."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sundog.base.record.running import node_directory
from sundog.errors import StoreError
from sundog.image.layer.replica import copy_exactly
from sundog.image.store.locks import lock_file
from sundog.image.store.moving import move, remove_moved
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from tests.conftest import Runner, command, runner
from tests.image.store.conftest import contents, write_tar


def break_renames(monkeypatch: pytest.MonkeyPatch, storage: Path) -> None:
    """Let ``storage`` be on a file system of its own, as far as rename(2) tells."""
    rename = os.rename

    def refuse(old: bytes, new: bytes) -> None:
        if os.fsencode(old) == os.fsencode(storage) and b".moved-" not in os.fsencode(new):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), old)
        rename(old, new)

    monkeypatch.setattr(os, "rename", refuse)


@pytest.fixture
def filled(storage: Path, driver: str, tmp_path: Path) -> Callable[[Path], None]:
    """Fill the storage; return a function that checks that another one is the same."""
    tar = write_tar(tmp_path / "x.tar", {"usr": None, "usr/a": b"1", "usr/b": ("a",)})
    with Store.open(str(storage), driver=driver) as store:
        found = import_image(store, str(tar), "x")
    then = 1_700_000_000
    (stack,) = storage.glob("images/*/stack")
    os.utime(stack, (then, then))

    def check(place: Path) -> None:
        with Store.open(str(place), driver=driver) as store:
            assert store.images.list() == [found]
            tree = Path(os.fsdecode(store.layers.tree(found.layers[0])))
        assert contents(tree) == {"usr": None, "usr/a": b"1", "usr/b": None}
        assert (place / "img" / stack.parent.name).exists() or any((place / "img").iterdir())
        (moved,) = place.glob("images/*/stack")
        assert moved.stat().st_mtime == then  # the last use
        assert stat.S_IMODE(place.stat().st_mode) == 0o700

    return check


@pytest.mark.parametrize("is_copied", [False, True])
def test_it_is_moved(
    filled: Callable[[Path], None],
    storage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_copied: bool,
) -> None:
    target = tmp_path / "there"
    said: list[str] = []
    if is_copied:
        break_renames(monkeypatch, storage)
    move(os.fsencode(storage), os.fsencode(target), said.append)
    assert len(said) == is_copied
    filled(target)
    assert not [path.name for path in tmp_path.iterdir() if "storage" in path.name]
    assert not [path.name for path in tmp_path.iterdir() if "there." in path.name]


@pytest.mark.parametrize("driver", ["overlay"])
def test_a_link_to_it_leads_to_the_new_place(
    filled: Callable[[Path], None], storage: Path, tmp_path: Path
) -> None:
    link, target = tmp_path / "link", tmp_path / "there"
    link.symlink_to(storage)
    move(os.fsencode(link), os.fsencode(target), print)
    assert link.readlink() == target
    filled(link)


@pytest.mark.parametrize("driver", ["overlay"])
def test_who_uses_it_is_named(
    filled: Callable[[Path], None], storage: Path, tmp_path: Path
) -> None:
    target = os.fsencode(tmp_path / "there")
    with Store.open(str(storage)) as store:
        store.hold()
        with pytest.raises(StoreError, match=r"is in use: another command$"):
            move(os.fsencode(storage), target, print)
    sleeper = subprocess.Popen(["sleep", "100"], cwd=storage / "images")
    with pytest.raises(StoreError, match=rf"is in use: sleep \(process {sleeper.pid}\)$"):
        move(os.fsencode(storage), target, print)
    sleeper.kill()
    sleeper.wait()
    note = storage / os.fsdecode(node_directory(b"n7")) / "note"
    note.parent.mkdir(parents=True)
    note.symlink_to("0" * 20)
    with pytest.raises(StoreError, match=r"is in use: node n7$") as raised:
        move(os.fsencode(storage), target, print)
    assert raised.value.hint.endswith(f"rm -r {storage}/running")
    assert not os.path.lexists(target)
    filled(storage)


def test_a_container_is_named(
    run_ch_image: Runner, busybox_tree: Path, storage: Path, tmp_path: Path
) -> None:
    (busybox_tree / "unlike").write_bytes(os.urandom(8))  # no other container has this layer
    run_ch_image("import", busybox_tree, "bb")
    started = subprocess.Popen(
        [*command("ch-run"), "--storage", storage, "bb", "--", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.read(1) == b"\n"
    done = run_ch_image("move", tmp_path / "there", check=False)
    assert done.returncode == 1
    assert f"is in use: cat (process {started.pid})\n" in done.stderr
    started.communicate()
    done = run_ch_image("move", tmp_path / "there")
    assert done.stderr.splitlines()[-1] == f"export CH_IMAGE_STORAGE='{tmp_path}/there'"
    assert not storage.exists()


@pytest.mark.parametrize("driver", ["overlay"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("storage/in", "is in the storage directory itself"),
        ("no/such", "no such directory: "),
        ("full", "there is something at "),
        ("storage", "is in the storage directory itself"),
    ],
)
def test_places_that_it_refuses(
    filled: Callable[[Path], None], storage: Path, tmp_path: Path, place: str, message: str
) -> None:
    (tmp_path / "full").mkdir()
    with pytest.raises(StoreError, match=message):
        move(os.fsencode(storage), os.fsencode(tmp_path / place), print)
    filled(storage)


@pytest.mark.parametrize("driver", ["overlay"])
def test_a_copy_that_fails_changes_nothing(
    filled: Callable[[Path], None],
    storage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container begins during the copy; the old one is a mount point; the new has no room."""
    break_renames(monkeypatch, storage)
    target = tmp_path / "there"
    sleepers: list[subprocess.Popen[bytes]] = []

    def begin(_: str) -> None:
        sleepers.append(subprocess.Popen(["sleep", "100"], cwd=storage / "images"))

    with pytest.raises(StoreError, match=r"is in use: sleep \("):
        move(os.fsencode(storage), os.fsencode(target), begin)
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()
    filled(storage)

    rename = os.rename

    def busy(old: bytes, new: bytes) -> None:
        if b".moved-" in os.fsencode(new):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), old)
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", busy)
        with pytest.raises(OSError, match="busy"):
            move(os.fsencode(storage), os.fsencode(target), print)
    filled(storage)

    def full(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(target))

    monkeypatch.setattr("sundog.image.layer.replica.copy_exactly", full)
    with pytest.raises(OSError, match="quota"):
        move(os.fsencode(storage), os.fsencode(target), print)
    filled(storage)
    assert {path.name for path in tmp_path.iterdir()} == {"storage", "x.tar"}


def killed_move(storage: Path, target: Path, patch: pytest.MonkeyPatch, function: str) -> None:
    """Move in a process that ends, as if killed, when it calls ``function`` of the module."""
    pid = os.fork()
    if not pid:
        patch.setattr(f"sundog.image.store.moving.{function}", lambda *_: os._exit(7))
        with suppress(BaseException):
            move(os.fsencode(storage), os.fsencode(target), print)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.parametrize("driver", ["overlay"])
def test_what_a_killed_copy_leaves_is_removed(
    filled: Callable[[Path], None],
    storage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A draft by the next move to that place, and the old directory by gc, if nobody uses it."""
    break_renames(monkeypatch, storage)
    target = tmp_path / "there"
    for step in ("_noted", "sync_file_system"):
        killed_move(storage, target, monkeypatch, step)
        (draft,) = tmp_path.glob("there.moving-*")
        for note in draft.glob("moved-from-*"):  # its worker ends, too
            lock_file(os.fsencode(note), fcntl.LOCK_EX).release()
    foreign = tmp_path / "there.moving-00000000"
    foreign.mkdir()
    (foreign / "file").touch()
    killed_move(storage, target, monkeypatch, "_renamed")
    assert list(tmp_path.glob("there.moving-*")) == [foreign]
    killed_move(storage, target, monkeypatch, "remove_tree")
    filled(target)
    (old,) = tmp_path.glob("storage.moved-*")
    filled(old)
    assert not storage.exists()

    def gc(*words: str) -> str:
        return runner("ch-image", target)("gc", "--keep-days=36500", *words).stderr

    assert gc("--dry-run") == ""
    with subprocess.Popen(["sleep", "100"], cwd=old / "images") as sleeper:
        said = f"an earlier move has left this: storage directory {old} is in use: sleep (process"
        assert gc() == f"{said} {sleeper.pid})\n"
        sleeper.kill()
    assert gc() == f"removed what an earlier move has left: {old}\n"
    assert gc() == ""
    assert not old.exists()
    assert not list(target.glob("moved-from-*"))
    filled(target)


@pytest.mark.parametrize("driver", ["overlay"])
@pytest.mark.parametrize("text", ["", "x", "{top}", "{top}/x.moved-01234567\0", "{top}/{name}-0"])
def test_a_note_with_another_path_removes_nothing(
    filled: Callable[[Path], None], storage: Path, tmp_path: Path, text: str
) -> None:
    name = "x.moved-01234567"
    (tmp_path / "real").mkdir()
    (tmp_path / name).symlink_to("real")
    (tmp_path / f"{name}-0").mkdir()
    for path in (text.format(top=tmp_path, name=name), str(tmp_path / name)):
        note = storage / "moved-from-01234567"
        note.write_text(path)
        remove_moved(os.fsencode(storage), pytest.fail)
        assert not note.exists()
    assert (tmp_path / "real").exists()
    assert (tmp_path / f"{name}-0").exists()
    filled(storage)


@pytest.mark.parametrize("driver", ["overlay"])
def test_two_moves_at_once(
    filled: Callable[[Path], None], storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft of one is nothing that the other removes; only one gets the place."""
    break_renames(monkeypatch, storage)
    target, other = tmp_path / "there", tmp_path / "other"
    Store.open(str(other)).close()
    (other / "mark").touch()

    def move_the_other(path: bytes) -> None:
        with pytest.raises(StoreError, match="is in use: another command"):
            move(os.fsencode(storage), os.fsencode(tmp_path / "elsewhere"), pytest.fail)
        move(os.fsencode(other), os.fsencode(target), pytest.fail)
        assert os.path.exists(path + b"/version")

    with monkeypatch.context() as patch:
        patch.setattr("sundog.image.store.moving.sync_file_system", move_the_other)
        with pytest.raises(StoreError, match="there is something at "):
            move(os.fsencode(storage), os.fsencode(target), print)
    assert (target / "mark").exists()
    filled(storage)
    assert {path.name for path in tmp_path.iterdir()} == {"storage", "there", "x.tar"}


def test_copies_are_exact(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "closed").mkdir(parents=True)
    target.mkdir()
    (source / "closed/file").write_bytes(b"1")
    os.setxattr(source / "closed/file", "user.x", b"y")
    (source / "closed").chmod(0o2751)
    (source / "program").write_bytes(b"2")
    (source / "program").chmod(0o4755)
    (source / "twin").hardlink_to(source / "program")
    (source / "link").symlink_to("nowhere")
    os.mknod(source / "whiteout", stat.S_IFCHR)
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fsencode(source / "socket"))
    with open(source / "holes", "wb") as file:
        file.truncate(1 << 30)
    (source / "left/out").mkdir(parents=True)
    (source / "left/out/file").touch()
    for number, path in enumerate(source.rglob("*")):
        os.utime(path, ns=(number, number * 10**9 + 5), follow_symlinks=False)
    copy_exactly(os.fsencode(source), os.fsencode(target), [b"left/out"])
    (source / "left/out/file").unlink()
    for path in source.rglob("*"):
        before, after = path.lstat(), (target / path.relative_to(source)).lstat()
        assert before.st_mode == after.st_mode
        assert before.st_rdev == after.st_rdev
        if path.name != "out":
            assert before.st_mtime_ns == after.st_mtime_ns
    assert len(list(source.rglob("*"))) == len(list(target.rglob("*")))
    assert (target / "program").samefile(target / "twin")
    assert os.getxattr(target / "closed/file", "user.x") == b"y"
    assert (target / "holes").stat().st_blocks < 100
