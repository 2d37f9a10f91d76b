"""Hostile archives: refused in one line, or accepted with a harmless result.

Each case of ``CASES`` has a cause of its own.  In every case, the files outside do not change, the
storage directory keeps its contents, and its ``tmp`` is empty at the end.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from sundog.front.cli.image_command import run
from sundog.image.layer.limits import limits_in_force, set_limits
from sundog.image.layer.remove import remove_tree
from sundog.image.store.store import Store
from tests.hostile.cases import Outside, settled
from tests.hostile.headers import HEADERS
from tests.hostile.images import IMAGES
from tests.hostile.layouts import LAYOUTS
from tests.hostile.members import MEMBERS
from tests.hostile.names import NAMES
from tests.hostile.streams import STREAMS
from tests.image.store.conftest import temporary_things

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.cases import Case

CASES: list[Case] = [*NAMES, *MEMBERS, *HEADERS, *STREAMS, *IMAGES, *LAYOUTS]

LETTERS = {stat.S_IFDIR: "d", stat.S_IFIFO: "p", stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the directory of all cases: one storage, and a canary beside it."""
    path = tmp_path_factory.mktemp("hostile")
    (path / "canary").mkdir()
    (path / "canary/precious").write_text("precious")
    yield path
    remove_tree(os.fsencode(path))


@pytest.fixture(autouse=True)
def usual_limits() -> Iterator[None]:
    """Make the bounds of each case apply to it alone."""
    before = limits_in_force()
    yield
    set_limits(before)


def shown(path: bytes) -> bytes | str | None:
    """Return what is at ``path``, in the notation of a case."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return f"-> {os.readlink(os.fsdecode(path))}"
    if not stat.S_ISREG(mode):
        return LETTERS[stat.S_IFMT(mode)]
    with open(path, "rb") as file:
        return file.read()


def entries(place: Path) -> dict[str, list[str]]:
    """Return the contents of the storage directory without blobs, because valid blobs are kept."""
    storage = place / "storage"
    return {name: sorted(os.listdir(storage / name)) for name in ("images", "layers", "cache")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_hostile_archive(case: Case, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    storage = str(place / "storage")
    canary = os.fsencode(place / "canary")
    Outside.canary = os.fsdecode(canary)
    (place / "archive").write_bytes(case.data())
    Store.open(storage).close()
    before = entries(place)
    if case.limits is not None:
        set_limits(case.limits)

    command, *by_its_name = case.command.split(maxsplit=1)
    name = [] if by_its_name else ["img"]
    status = run(["-s", storage, command, str(place / "archive"), *name])

    stderr = capfd.readouterr().err
    assert "Traceback" not in stderr
    assert sorted(os.listdir(canary)) == [b"precious"]
    assert (place / "canary/precious").read_text() == "precious"
    assert temporary_things(place / "storage") == []
    if case.says:
        lines = [line for line in stderr.splitlines() if line.startswith("error:")]
        assert (status, len(lines)) == (1, 1), stderr
        assert case.says in lines[0]
        assert lines[0].isprintable()
        assert len(lines[0]) < 2000
        assert entries(place) == before
        return
    assert status == 0, stderr
    with Store.open(storage) as store:
        image = store.images.get("img")
        tree = store.layers.tree(image.layers[-1])
        for path, wanted in case.holds.items():
            place_of = os.path.join(tree, os.fsencode(settled(path)))
            assert shown(place_of) == (settled(wanted) if isinstance(wanted, str) else wanted), path
        if case.check is not None:
            case.check(tree)
    assert run(["-s", storage, "delete", "img"]) == 0
    assert entries(place)["images"] == before["images"]


def test_they_are_many_and_distinct() -> None:
    assert len(CASES) >= 100
    assert len({case.name for case in CASES}) == len(CASES)
