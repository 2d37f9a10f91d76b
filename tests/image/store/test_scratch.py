"""tmp/: a collection removes all files of killed processes and no file of a live one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.stack import ImageStack, pack_stack
from sundog.image.store.directory import open_directory
from sundog.image.store.locks import KernelLocks
from sundog.image.store.scratch import Scratch
from sundog.image.store.store import Store

# The program makes a directory in tmp/, says so, and waits to be killed.
HOLDER = """
import sys, time
from sundog.image.store.locks import KernelLocks
from sundog.image.store.scratch import Scratch
scratch = Scratch(sys.argv[1].encode(), KernelLocks())
path = scratch.new(b".replaced" if len(sys.argv) > 2 else b"")
import os
os.makedirs(os.path.join(path, (sys.argv[2] if len(sys.argv) > 2 else "deep/tree").encode()))
print(path.decode(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def directory(tmp_path: Path) -> bytes:
    path = os.fsencode(tmp_path / "store")
    open_directory(path)
    return path


@pytest.fixture
def scratch(directory: bytes) -> Scratch:
    return Scratch(directory, KernelLocks())


def collect(scratch: Scratch) -> bool:
    """Collect; return whether the collection found files of a killed process."""
    found: list[bool] = []
    scratch.collect(lambda: found.append(True))
    return bool(found)


def leftovers(directory: bytes) -> list[bytes]:
    tmp = os.path.join(directory, b"tmp")
    return [name for name in os.listdir(tmp) if name != b"trash"] + os.listdir(
        os.path.join(tmp, b"trash")
    )


def start_holder(directory: bytes, *arguments: str) -> tuple[subprocess.Popen[bytes], bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, os.fsdecode(directory), *arguments], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    with holder.stdout as output:
        return holder, output.readline().strip()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_nothing_is_made_until_it_is_needed(directory: bytes, scratch: Scratch) -> None:
    scratch.close()
    assert leftovers(directory) == []


def test_close_removes_all_that_was_made(directory: bytes, scratch: Scratch) -> None:
    place = scratch.new()
    os.mkdir(os.path.join(place, b"closed"), 0)
    assert scratch.new() != place
    scratch.close()
    assert leftovers(directory) == []


def test_what_a_killed_process_left_is_collected(directory: bytes, scratch: Scratch) -> None:
    holder, _ = start_holder(directory)
    kill(holder)
    assert len(leftovers(directory)) == 1
    assert collect(scratch)
    scratch.close()
    assert leftovers(directory) == []


def test_what_a_live_process_makes_is_left_alone(directory: bytes, scratch: Scratch) -> None:
    holder, path = start_holder(directory)
    assert not collect(scratch)
    assert os.path.isdir(path + b"/deep/tree")
    kill(holder)
    assert collect(scratch)
    assert not os.path.exists(path)


def test_children_of_a_killed_process_keep_what_they_may_still_use(
    directory: bytes, scratch: Scratch
) -> None:
    place = scratch.new()
    pipe_read, pipe_write = os.pipe()
    child = os.fork()
    if not child:
        os.close(pipe_write)
        os.read(pipe_read, 1)
        os._exit(0)
    try:
        # As if this process were killed: its own descriptor is closed, the child's is not.
        assert scratch._lock is not None
        os.close(scratch._lock.fd)
        other = Scratch(directory, KernelLocks())
        assert not collect(other)
        assert os.path.isdir(place)
    finally:
        os.close(pipe_write)
        os.waitpid(child, 0)
        os.close(pipe_read)
    assert collect(other)
    other.close()
    assert leftovers(directory) == []


@pytest.mark.parametrize("state", ["no lock", "empty", "lock only"])
def test_a_process_killed_while_it_began_or_ended_leaves_nothing(
    directory: bytes, scratch: Scratch, state: str
) -> None:
    own = os.path.join(directory, b"tmp", b"1.0123456789abcdef")
    os.makedirs(own + b"/3/x" if state == "no lock" else own)
    if state == "lock only":
        os.close(os.open(own + b"/lock", os.O_CREAT | os.O_WRONLY))
    collect(scratch)
    scratch.close()
    assert leftovers(directory) == []


def test_image_taken_away_for_a_replacement_that_never_came_is_back(
    directory: bytes, scratch: Scratch
) -> None:
    name = "docker.io%library%x+latest"
    holder, _ = start_holder(directory, name)
    kill(holder)
    collect(scratch)
    assert os.listdir(os.path.join(directory, b"images")) == [name.encode()]
    assert os.path.isdir(os.path.join(directory, b"images", name.encode()))
    scratch.close()
    assert leftovers(directory) == []


def test_image_that_was_replaced_does_not_come_back(directory: bytes, scratch: Scratch) -> None:
    name = "docker.io%library%x+latest"
    os.makedirs(os.path.join(directory, b"images", name.encode(), b"new"))
    holder, _ = start_holder(directory, name)
    kill(holder)
    collect(scratch)
    scratch.close()
    assert os.listdir(os.path.join(directory, b"images", name.encode())) == [b"new"]
    assert leftovers(directory) == []


def test_replace_without_exchange(directory: bytes, scratch: Scratch) -> None:
    target = os.path.join(directory, b"images", b"r%x+y")
    for content in (b"1", b"2"):
        new = os.path.join(scratch.new(), b"r%x+y")
        os.makedirs(os.path.join(new, content))
        scratch.replace(new, target)
        assert os.listdir(target) == [content]


def test_replace_restores_the_old_one_when_the_new_one_cannot_come(
    directory: bytes, scratch: Scratch
) -> None:
    target = os.path.join(directory, b"images", b"r%x+y")
    os.makedirs(target)
    with pytest.raises(FileNotFoundError):
        scratch.replace(os.path.join(directory, b"absent"), target)
    assert os.path.isdir(target)


def test_aside_of_what_has_vanished_is_an_error(directory: bytes, scratch: Scratch) -> None:
    with pytest.raises(FileNotFoundError):
        scratch.aside(os.path.join(directory, b"layers", b"0" * 20))
    assert leftovers(directory) == []


MOUNT = b'mount --bind "$1" "$1" && echo ready && exec sleep 600'


@pytest.fixture
def mount_named(tmp_path: Path) -> Callable[[bytes], subprocess.Popen[bytes]]:
    """Return a function that starts a process in which an image of this name is mounted."""

    def start(name: bytes) -> subprocess.Popen[bytes]:
        source = os.path.join(os.fsencode(tmp_path), b"mounted", name)
        os.makedirs(source, exist_ok=True)
        process = subprocess.Popen(
            [*b"unshare -r -m sh -c".split(), MOUNT, b"sh", source],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process.stdout as output:
            assert output.readline() == b"ready\n"
        return process

    return start


LAYER = os.urandom(10).hex().encode()  # no other test process mounts it


def make_image(directory: bytes, name: bytes, stack: ImageStack) -> bytes:
    path = os.path.join(directory, b"images", name)
    os.makedirs(path)
    with open(os.path.join(path, b"stack"), "wb") as file:
        file.write(pack_stack(stack))
    return path


@pytest.mark.parametrize("kind", ["layer", "image", "image of a tree"])
def test_mounted_things_wait_in_the_trash(
    directory: bytes,
    scratch: Scratch,
    mount_named: Callable[[bytes], subprocess.Popen[bytes]],
    kind: str,
) -> None:
    if kind == "layer":
        path = os.path.join(directory, b"layers", LAYER)
        os.makedirs(path + b"/tree")
    elif kind == "image":
        path = make_image(directory, b"r%x+y", ImageStack([LAYER, b"1" * 20]))
    else:
        path = make_image(directory, b"r%x+y", ImageStack([b"1" * 20], tree=LAYER))
    process = mount_named(LAYER)
    try:
        place = scratch.aside(path)
        assert place is not None
        scratch.dispose(place)
        collect(scratch)
        scratch.close()
        assert len(leftovers(directory)) == 1
    finally:
        kill(process)
    later = Scratch(directory, KernelLocks())
    collect(later)
    later.close()
    assert leftovers(directory) == []


def test_replaced_image_that_is_mounted_waits_in_the_trash(
    directory: bytes,
    scratch: Scratch,
    mount_named: Callable[[bytes], subprocess.Popen[bytes]],
) -> None:
    target = make_image(directory, b"r%x+y", ImageStack([LAYER]))
    new = scratch.new()
    process = mount_named(LAYER)
    try:
        scratch.replace(new, target)
        for _ in range(2):
            collect(scratch)
        scratch.close()
        assert os.listdir(target) == []
        (kept,) = leftovers(directory)
        assert os.listdir(os.path.join(directory, b"tmp/trash", kept)) == [b"stack"]
    finally:
        kill(process)
    collect(scratch)
    assert leftovers(directory) == []


def interrupted(path: str, error: type[BaseException], patience: float) -> None:
    with Store.open(path) as store:
        draft = store.scratch.new()
        for name in range(5):
            os.makedirs(os.path.join(draft, b"%d/deep" % name))
        store.scratch.hurry(patience)
        raise error


@pytest.mark.parametrize(("patience", "is_left"), [(-1, True), (600, False)])
def test_after_a_signal_the_rest_is_left_to_the_next_command(
    tmp_path: Path, patience: float, *, is_left: bool
) -> None:
    """Hostile archives have millions of files, and the user waits for the end."""
    path = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        interrupted(str(path), KeyboardInterrupt, patience)
    assert bool(leftovers(os.fsencode(path))) is is_left
    Store.open(str(path)).close()
    assert leftovers(os.fsencode(path)) == []
