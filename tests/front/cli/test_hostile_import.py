"""``ch-image import`` of hostile archives: it refuses them, or keeps them inside the image."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.image.layer.archives import (
    Entry,
    archive,
    directory,
    file,
    hard_link,
    raw_archive,
    raw_header,
    symlink,
)
from tests.image.store.conftest import temporary_things

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.conftest import Completed, Runner

PRECIOUS = "precious"
# More steps up than from the archives, or from the unpacked trees, to the root.
UP = "../" * 40
BUSYBOX = "/usr/bin/busybox"

# Refused: members, in which {canary} is a directory outside, and the reason in the message.
REFUSED = {
    "dot dot": ([file(UP + "{canary}/escaped")], '".."'),
    "dot dot inside": ([directory("a"), file("a/../../escaped")], '".."'),
    "hard link by an absolute name": ([hard_link("e", "{canary}/precious")], "not there"),
    "hard link by dot dot": ([hard_link("e", UP + "{canary}/precious")], '".."'),
    "hard link through a link": (
        [symlink("s", "{canary}"), hard_link("e", "s/precious")],
        "not there",
    ),
    "the root is a link out": ([symlink(".", "{canary}")], "the root is not a directory"),
    "whiteout of no name": ([file("d/.wh.", b"")], "whiteout without a name"),
    "whiteout of dot dot": ([file("d/.wh...", b"")], "whiteout without a name"),
    "whiteout with a slash": ([file(".wh.d/precious", b"")], "a whiteout is not a directory"),
}

# Unpacked, but inside: members, and the image's files besides the usual ones.
CONTAINED = {
    "absolute name": ([file("{canary}/escaped")], {"{canary}/escaped": "x\n"}),
    "through a link to outside": (
        [symlink("s", "{canary}"), file("s/escaped"), file("s/precious", b"overwritten")],
        {"{canary}/escaped": "x\n", "{canary}/precious": "overwritten"},
    ),
    "through a link of dot dots": (
        [symlink("s", UP + "{canary}"), directory("s", mode=0o777), file("s/escaped")],
        {"s/escaped": "x\n"},
    ),
    "below a link of dot dots": (
        [symlink("s", UP + "{canary}"), directory("s/d", mode=0o777), file("s/d/escaped")],
        {"{canary}/d/escaped": "x\n"},
    ),
    "whiteouts through a link": (
        [symlink("s", "{canary}"), file("s/.wh.precious", b""), file("s/.wh..wh..opq", b"")],
        {},
    ),
    "a link replaces its directory": (
        [directory("d"), symlink("d", "{canary}"), file("d/escaped")],
        {"{canary}/escaped": "x\n"},
    ),
    "a size that takes the next header for data": (
        [file("liar", raw_header(b"next"))],
        {"liar": raw_header(b"next").decode("latin-1")},
    ),
}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """Return a directory outside all images, which must stay as it is."""
    path = tmp_path / "canary"
    path.mkdir()
    (path / PRECIOUS).write_text(PRECIOUS)
    before = _look(path)
    yield path
    assert _look(path) == before
    assert (path / PRECIOUS).read_text() == PRECIOUS
    assert sorted(os.listdir(tmp_path)) == ["canary", "hostile.tar", "storage"]


def _look(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return all attributes that a touch, or a link, of a file or the directory changes."""
    return [
        (str(each), (info.st_ino, info.st_mode, info.st_nlink, info.st_size, info.st_ctime_ns))
        for each in (path, *sorted(path.iterdir()))
        for info in [each.lstat()]
    ]


def _members(entries: Iterable[Entry], canary: Path) -> bytes:
    """Return an archive of a root file system and these members, which may name ``canary``."""

    def named(text: str | bytes) -> str:
        assert isinstance(text, str)
        absolute = text.startswith("{")
        return text.replace("{canary}", str(canary) if absolute else str(canary).lstrip("/"))

    usual = [directory(name) for name in ("bin", "dev", "etc", "proc", "sys", "tmp")]
    usual += [file("bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755)]
    usual += [file("etc/passwd", b""), file("etc/group", b"")]
    hostile = (replace(each, name=named(each.name), link=named(each.link)) for each in entries)
    return archive(*usual, *hostile).getvalue()


def _imported(run_ch_image: Runner, canary: Path, data: bytes) -> Completed:
    path = canary.with_name("hostile.tar")
    path.write_bytes(data)
    return run_ch_image("import", path, "hostile", check=False)


def _assert_refused(done: Completed, canary: Path, reason: str) -> None:
    lines = done.stderr.splitlines()
    assert done.returncode == 1, lines
    assert done.stdout == ""
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, lines
    assert reason in errors[0]
    assert str(canary.with_name("hostile.tar")) in errors[0]
    assert sum(line.startswith("hint: ") for line in lines) == 1, lines
    rest = [line for line in lines if not line.startswith(("error: ", "hint: "))]
    assert [line.split(":")[0] for line in rest] == ["importing", "destination"], lines


def _assert_nothing_left(run_ch_image: Runner, storage: Path) -> None:
    """Assert that the import left no image, no layer and no temporary file."""
    assert run_ch_image("list").stdout == ""
    for name in ("images", "layers", "trees", "cache"):
        assert os.listdir(storage / name) == []
    assert temporary_things(storage) == []


def _only_tree(storage: Path) -> Path:
    (layer,) = (storage / "layers").iterdir()
    return layer / "tree"


def _regular_files(tree: Path) -> Iterator[Path]:
    for directory_, _, names in os.walk(tree):
        paths = (Path(directory_, name) for name in names)
        yield from (path for path in paths if stat.S_ISREG(path.lstat().st_mode))


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, run_ch_image: Runner, storage: Path, canary: Path) -> None:
    entries, reason = REFUSED[case]
    done = _imported(run_ch_image, canary, _members(entries, canary))
    _assert_refused(done, canary, reason)
    _assert_nothing_left(run_ch_image, storage)


@pytest.mark.parametrize("case", CONTAINED)
def test_contained(case: str, run_ch_image: Runner, storage: Path, canary: Path) -> None:
    entries, expected = CONTAINED[case]
    done = _imported(run_ch_image, canary, _members(entries, canary))
    assert done.returncode == 0, done.stderr
    tree = _only_tree(storage)
    found = {
        str(path.relative_to(tree)): path.read_text("latin-1")
        for path in _regular_files(tree)
        if not path.is_relative_to(tree / "bin") and not path.is_relative_to(tree / "etc")
    }
    inside = str(canary).lstrip("/")
    assert found == {name.replace("{canary}", inside): text for name, text in expected.items()}
    assert run_ch_image("list").stdout == "hostile\n"
    assert temporary_things(storage) == []


@pytest.mark.parametrize("driver", ["overlay", "copy"])
@pytest.mark.parametrize("prefix", ["SCHILY.xattr.", "LIBARCHIVE.xattr."])
def test_forged_marks_of_overlayfs(
    prefix: str,
    driver: str,
    *,
    run_ch_image: Runner,
    run_ch_run: Runner,
    storage: Path,
    canary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An archive's marks of overlayfs are dropped: they hide no file and lead nowhere."""
    monkeypatch.setenv("CH_IMAGE_DRIVER", driver)

    def forged(**marks: str) -> dict[str, str]:
        values = {name: value.replace("CANARY", str(canary)) for name, value in marks.items()}
        if prefix == "LIBARCHIVE.xattr.":
            values = {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}
        return {f"{prefix}user.overlay.{name}": value for name, value in values.items()}

    members = [
        directory("opaque", pax=forged(opaque="y")),
        file("opaque/f"),
        directory("xwhiteouts", pax=forged(opaque="x")),
        file("xwhiteouts/f", pax=forged(whiteout="y")),
        directory("redirected", pax=forged(redirect="CANARY")),
        file("metacopy", b"own", pax=forged(metacopy="", redirect="CANARY/precious")),
        file("origin", b"own", pax=forged(origin="0", impure="y", nlink="U+9")),
    ]
    assert _imported(run_ch_image, canary, _members(members, canary)).returncode == 0
    tree = _only_tree(storage)
    for path in (tree, *_regular_files(tree), *(tree / str(each.name) for each in members)):
        assert [name for name in os.listxattr(path) if name.startswith("user.overlay.")] == []
    script = "cd /; busybox find opaque xwhiteouts redirected; busybox cat metacopy origin"
    seen = run_ch_run("hostile", "--", "/bin/busybox", "sh", "-c", script).stdout
    assert sorted(seen.splitlines()) == [
        "opaque",
        "opaque/f",
        "ownown",
        "redirected",
        "xwhiteouts",
        "xwhiteouts/f",
    ]


@pytest.mark.parametrize("blocks", [0, 1, 40, 100])
def test_truncated(run_ch_image: Runner, storage: Path, canary: Path, blocks: int) -> None:
    """The archive ends in the last member's header, before its data, or amid its data."""
    whole = _members([file("big", b"y" * 100_000)], canary)
    start = whole.index(b"big\0")
    done = _imported(run_ch_image, canary, whole[: start + 512 * blocks + 100])
    _assert_refused(done, canary, "the archive ends early")
    _assert_nothing_left(run_ch_image, storage)


def test_a_size_beyond_the_end(run_ch_image: Runner, storage: Path, canary: Path) -> None:
    data = raw_archive(raw_header(b"liar", size=b"77777777777\0"), b"little").getvalue()
    done = _imported(run_ch_image, canary, data)
    _assert_refused(done, canary, "liar: the archive ends early")
    _assert_nothing_left(run_ch_image, storage)


def test_a_refused_archive_leaves_the_image_of_that_name(
    run_ch_image: Runner, run_ch_run: Runner, busybox_tar: Path, storage: Path, canary: Path
) -> None:
    run_ch_image("import", busybox_tar, "hostile")
    before = os.listdir(storage / "layers")
    done = _imported(run_ch_image, canary, _members([file("a/../../escaped")], canary))
    _assert_refused(done, canary, '".."')
    assert run_ch_run("hostile", "--", "echo", "whole").stdout == "whole\n"
    assert os.listdir(storage / "layers") == before
    assert temporary_things(storage) == []
