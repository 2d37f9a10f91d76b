"""A disk that becomes full at any moment of a command: one clear error, nothing half-made."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from tests.image.layer.archives import archive, directory, file
from tests.image.pull.conftest import leftovers, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.registry.servers import InProcessRegistry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_WORDS = {
    "pull": ["pull {host}/a x"],
    "load": ["load {place}/saved y"],
    "build": ["build --force=none -t y {place}/context"],
    "push": ["import {place}/tar y", "push y {host}/b"],
    "save": ["import {place}/tar y", "save -o {place}/again y"],
}
# Options of tmpfs: each gives a little more than the one before, in room and in inodes.
_ROOM = [(kibibytes, "") for kibibytes in range(8, 2000, 148)]
_INODES = [(4096, f"nr_inodes={count}") for count in range(3, 120, 9)]


@pytest.fixture
def place(run_ch_image: Runner, tmp_path: Path, in_process: InProcessRegistry) -> Path:
    """Return a directory with an image as a tar, saved, and as a context; push it too."""
    data = random.Random(0).randbytes(300_000)
    content = (directory("bin"), file("bin/data", data), file("etc/more", b"1"))
    (tmp_path / "tar").write_bytes(archive(*content).getvalue())
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY data /a\nCOPY data data /b/\n")
    (context / "data").write_bytes(data)
    run_ch_image("build", "-t", "image", context)
    run_ch_image("save", "-o", tmp_path / "saved", "image")
    run_ch_image("push", "image", f"{in_process.host}/a")
    return tmp_path


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        pytest.param(words, sizes, id=f"{name}-{what}")
        for name, words in _WORDS.items()
        for what, sizes in (("room", _ROOM), ("inodes", _INODES))
        # Commands that don't change the image need fewer inodes than its making.
        if len(words) == 1 or sizes is _ROOM
    ],
)
def test_it_is_told_and_nothing_is_left(
    *,
    words: list[str],
    sizes: list[tuple[int, str]],
    place: Path,
    in_process: InProcessRegistry,
    run_ch_image: Runner,
    small_tmpfs: Callable[[int, str], Path],
) -> None:
    failed: set[str] = set()
    for size in sizes:
        mount = small_tmpfs(*size)
        storage = mount / "storage"
        images = 0
        for word in words:
            arguments = word.format(host=in_process.host, place=place).split()
            done = run_ch_image(arguments[0], "-s", storage, *arguments[1:], check=False)
            if done.returncode:
                failed.add(arguments[0])
                refused(done, f"no space left on tmpfs at {mount}")
                refused(done, f": storage directory {storage}\nhint: free some space there (")
                break
            images = 1
        else:
            assert failed == {word.split()[0] for word in words}
            return
        if (storage / "tmp/trash").exists():  # the command made the storage directory
            assert [name for name in leftovers(storage) if name.startswith("tmp/")] == []
            assert len(list((storage / "images").glob("*"))) == images
    pytest.fail("it never fits")


@pytest.mark.parametrize("word", ["push y {host}/b", "save -o {place}/again y"])
def test_few_inodes_are_left(
    word: str,
    place: Path,
    in_process: InProcessRegistry,
    run_ch_image: Runner,
    small_tmpfs: Callable[[int, str], Path],
) -> None:
    mount = small_tmpfs(4096, "nr_inodes=200")
    storage = mount / "storage"
    run_ch_image("import", "-s", storage, place / "tar", "y")
    fillers: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            fillers.append(mount / str(len(fillers)))
            fillers[-1].touch()
    fillers.pop()
    arguments = word.format(host=in_process.host, place=place).split()
    failures = 0
    while run_ch_image(arguments[0], "-s", storage, *arguments[1:], check=False).returncode:
        failures += 1
        assert [name for name in leftovers(storage) if name.startswith("tmp/")] == []
        fillers.pop().unlink()
    assert 0 < failures < 10
