"""Full and read-only file systems: one clear error, the old state, and nothing half-written."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sundog.errors import KernelError, StoreError
from sundog.image.store.faults import StorageFaults
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from tests.image.store.conftest import temporary_things, write_tar

# Runs as root of a user namespace and mounts a small tmpfs on the directory "fs".
PRELUDE = """
import os, subprocess, sys
from sundog.errors import StoreError
from sundog.image.transfer.importer import import_image
from sundog.image.store.store import Store
from tests.image.store.conftest import image

def open_store():
    return Store.open("fs/storage", driver=os.environ["DRIVER"])

def fails(action, text):
    try:
        action()
    except StoreError as error:
        assert text in error.message, error.message
        assert "tmpfs at " + os.path.realpath("fs") in error.message, error.message
        assert "storage directory " + os.path.realpath("fs/storage") in error.message
        assert "--storage" in error.hint
    else:
        raise AssertionError("no error")

def names(store):
    return [image.typed for image in store.images.list()]

def fill():
    with open("fs/fill", "wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(bytes(size)): pass
            except OSError: pass

def temporary():
    return os.listdir("fs/storage/tmp"), os.listdir("fs/storage/tmp/trash")
"""


@pytest.fixture
def in_small_tmpfs(tmp_path: Path, driver: str) -> Callable[..., None]:
    """Return a function that runs a program with a small tmpfs in its working directory."""
    (tmp_path / "fs").mkdir()
    write_tar(tmp_path / "small.tar", {"usr": None, "usr/small": b"1"})
    write_tar(tmp_path / "large.tar", {"usr": None, "usr/large": bytes(2 << 20)})

    def run(program: str, options: str = "size=1m") -> None:
        mount = f'mount -t tmpfs -o "{options}" none fs && exec "$0" -c "$1"'
        program = PRELUDE + textwrap.dedent(program)
        done = subprocess.run(
            ["unshare", "-r", "-m", "sh", "-c", mount, sys.executable, program],
            cwd=tmp_path,
            env=os.environ | {"DRIVER": driver, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


def test_import_that_does_not_fit(in_small_tmpfs: Callable[..., None]) -> None:
    in_small_tmpfs(
        """
        with open_store() as store:
            old = import_image(store, "small.tar", "x")
        with open_store() as store:
            fails(lambda: import_image(store, "large.tar", "x"), "no space left on ")
        with open_store() as store:
            assert store.images.get("x") == old
            assert os.listdir("fs/storage/layers") == list(old.layers)
            import_image(store, "small.tar", "y")
        assert temporary() == (["trash"], [])
        """
    )


def test_every_write_on_a_full_file_system(in_small_tmpfs: Callable[..., None]) -> None:
    in_small_tmpfs(
        """
        with open_store() as store:
            (layer,) = import_image(store, "small.tar", "x").layers
        fill()
        full = "no space left on "
        with open_store() as store:
            fails(lambda: store.images.put(image("new", layer)), full)
            fails(lambda: import_image(store, "small.tar", "new"), full)
            digest = store.layers.diff_id(layer)  # which cannot be written down, and is found again
            fails(store.layers.write_down, full)
            assert names(store) == ["x"]
            assert store.cache.get("key") is None
            store.images.delete("x")
        assert temporary() == (["trash"], [])
        os.unlink("fs/fill")
        with open_store() as store:
            assert names(store) == []
            assert import_image(store, "small.tar", "x").layers == (layer,)
            assert store.layers.info(layer).diff_id == ""
            assert store.layers.diff_id(layer) == digest
        with open_store() as store:
            assert store.layers.info(layer).diff_id == digest
        """
    )


def test_no_inodes_left(in_small_tmpfs: Callable[..., None]) -> None:
    in_small_tmpfs(
        """
        with open_store() as store:
            import_image(store, "small.tar", "x")
        try:
            for number in range(1000):
                os.mkdir(f"fs/{number}")
        except OSError: pass
        with open_store() as store:
            fails(lambda: import_image(store, "small.tar", "y"), "no space left on ")
            fails(lambda: store.cache.put("key", None), "no space left on ")
            assert names(store) == ["x"]
        """,
        options="size=1m,nr_inodes=120",
    )


def test_storage_cannot_be_made_on_a_full_file_system(in_small_tmpfs: Callable[..., None]) -> None:
    in_small_tmpfs('fails(open_store, "no space left on ")', options="size=1m,nr_inodes=4")


def test_read_only_file_system_can_be_read(in_small_tmpfs: Callable[..., None]) -> None:
    in_small_tmpfs(
        """
        with open_store() as store:
            old = import_image(store, "small.tar", "x")
        subprocess.run(["mount", "-o", "remount,bind,ro", "fs"], check=True)
        with open_store() as store:
            assert names(store) == ["x"]
            assert store.images.get("x") == old
            fails(lambda: store.images.put(old), "nothing can be written")
            fails(lambda: import_image(store, "small.tar", "x"), "nothing can be written")
            fails(lambda: store.images.delete("x"), "nothing can be written")
        """
    )


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "gone", "x"),
        KernelError("renameat2", "x", errno.EPERM, "can't rename"),
        KernelError("unshare", "user namespace", errno.ENOSPC, "can't unshare"),
        ValueError("x"),
        OSError(errno.ENOSPC, "full", "/elsewhere"),
        OSError(errno.EIO, "broken", b"/storage.tar"),
    ],
)
def test_other_errors_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, StorageFaults(b"/storage"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (OSError(errno.ENOSPC, "full"), "no space left on proc at /proc", "free some space"),
        (OSError(errno.ENOSPC, "full", b"bin"), "no space left on proc at /proc", "free some"),
        (OSError(errno.EDQUOT, "over"), "disk quota exceeded on proc at /proc", "free some"),
        (OSError(errno.EROFS, "ro"), "nothing can be written: read-only is proc at ", "choose"),
        (OSError(errno.EIO, "broken"), "input/output error on proc at /proc", "see dmesg(1)"),
        (KernelError("syncfs", "x", errno.EIO, "no"), "input/output error on ", "see dmesg(1)"),
    ],
)
def test_what_leaves_a_store_names_the_file_system(
    error: Exception, said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(str(tmp_path / "storage"))
    monkeypatch.setattr(store, "faults", StorageFaults(b"/proc/self"))
    with pytest.raises(StoreError) as raised, store:
        raise error
    assert said in raised.value.message
    assert raised.value.message.endswith(": storage directory /proc/self")
    assert raised.value.hint.startswith(hint)
    assert "--storage DIR" in raised.value.hint


def test_quota_is_told_from_a_full_disk() -> None:
    error = pytest.raises(StoreError, match=r"^disk quota exceeded on proc at /proc")
    with error, StorageFaults(b"/proc/self"):
        raise OSError(errno.EDQUOT, "quota")


def test_a_full_quota_names_usage_and_remedy(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and nothing is lost."""
    tar = write_tar(tmp_path / "x.tar", {"usr": None, "usr/file": bytes(5 << 20)})
    with Store.open(str(storage)) as store:
        old = import_image(store, str(tar), "x")
        store.images.size(old)
    for info in storage.glob("layers/*/layer.json"):
        value = json.loads(info.read_text()) | {"size": 3 << 30}
        info.write_text(json.dumps(value))
    write = os.open

    def over(path: bytes, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT and os.fsencode(path).startswith(os.fsencode(storage / "tmp")):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), path)
        return write(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", over)
    with pytest.raises(StoreError) as raised, Store.open(str(storage)) as store:
        store.images.put(replace(old, reference="docker.io/library/y:latest", typed="y"))
    monkeypatch.undo()
    assert raised.value.message.startswith("disk quota exceeded on ")
    assert raised.value.message.endswith(f": storage directory {storage}")
    assert raised.value.hint.startswith(
        "free some space there (layers have at least 3.0 GiB; ch-image usage, ch-image gc), or "
    )
    with Store.open(str(storage)) as store:
        assert store.images.list() == [old]
    assert temporary_things(storage) == []
