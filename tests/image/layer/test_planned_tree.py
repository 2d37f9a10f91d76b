"""A tree planned in memory is the tree that unpacking makes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sundog.base.record.layer_index import INDEX_OPAQUE, LayerIndex
from sundog.base.record.layer_path import LAYER_INDEX, LayerPath, link_tree
from sundog.base.record.owners import pack_owners, read_owners
from sundog.errors import ArchiveError
from sundog.image.layer.below import LayerTree
from sundog.image.layer.blob_layer import planned
from sundog.image.layer.limits import Limits, Meter
from sundog.image.layer.planned_index import PlannedIndex
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.tar import TarReader
from sundog.image.layer.unpack import unpack
from sundog.image.layer.xattrs import get_xattrs, overlay_xattrs
from sundog.image.store.tree_work import finish_draft, new_tree
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.layer.namespace import in_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.image.layer.header import Member

# Path → mode, time, size, number of names, target, attributes, opaque; and the first of its names.
Found = dict[bytes, tuple[object, ...]]
REFUSED = ("leads through the symbolic link", "which is not in the layer")


def of_index(path: bytes) -> Found:
    with open(path, "rb") as opened:
        index = LayerIndex(opened.read())
    found: Found = {}
    ahead = [(b"", index.entry(0))]
    while ahead:
        place, entry = ahead.pop()
        mtime = entry.mtime * 10**9 + entry.nanoseconds
        is_link = stat.S_ISLNK(entry.mode)
        found[place] = (
            entry.mode,
            0 if stat.S_ISCHR(entry.mode) else mtime,
            entry.size if stat.S_ISREG(entry.mode) else 0,
            entry.nlink if place else 0,
            index.target(entry) if is_link else b"",
            tuple(sorted(index.xattrs(entry).items())),
            bool(entry.flags & INDEX_OPAQUE),
            entry.number if entry.nlink > 1 and not entry.is_directory else 0,
        )
        if entry.is_directory:
            ahead += [(os.path.join(place, c.name), c) for c in index.entries(entry)]
    return _by_first_name(found)


def of_tree(tree: bytes) -> Found:
    found: Found = {}
    ahead = [b""]
    while ahead:
        place = ahead.pop()
        path = os.path.join(tree, place) if place else tree
        status = os.lstat(path)
        mode = status.st_mode
        is_linked = status.st_nlink > 1 and not stat.S_ISDIR(mode)
        has_xattrs = stat.S_ISDIR(mode) or stat.S_ISREG(mode)
        found[place] = (
            mode,
            0 if stat.S_ISCHR(mode) else status.st_mtime_ns,
            status.st_size if stat.S_ISREG(mode) else 0,
            status.st_nlink if place else 0,
            os.readlink(path) if stat.S_ISLNK(mode) else b"",
            get_xattrs(path) if has_xattrs else (),
            bool(has_xattrs and overlay_xattrs(path)),
            status.st_ino if is_linked else 0,
        )
        if stat.S_ISDIR(mode):
            ahead += [os.path.join(place, name) for name in os.listdir(path)]
    return _by_first_name(found)


def _by_first_name(found: Found) -> Found:
    first: dict[object, bytes] = {}
    for path in sorted(found):
        number = found[path][-1]
        name = first.setdefault(number, path) if number else b""
        found[path] = (*found[path][:-1], name)
    return found


def members(entries: Sequence[Entry]) -> Iterator[tuple[Member, tuple[()]]]:
    for member in TarReader(archive(*entries)):
        yield member, ()


def plan(draft: bytes, entries: Sequence[Entry], below: Sequence[LayerPath]) -> None:
    os.mkdir(draft)
    tree, owners = planned(members(entries), below)
    written = PlannedIndex(tree, owners, 0)
    for name, parts in ((LAYER_INDEX, written.index.parts()), (b"/owners", [pack_owners(owners)])):
        with open(draft + name, "wb") as out:
            out.writelines(parts)
    link_tree(draft, b"0")


def compare(place: bytes, layers: Sequence[Sequence[Entry]]) -> None:
    """Unpack layers and plan them, over the unpacked ones and over the planned ones."""
    unpacked: list[LayerPath] = []
    indexed: list[LayerPath] = []
    for number, entries in enumerate(layers):
        draft = os.path.join(place, b"%d" % number)
        os.mkdir(draft)
        error = None
        try:
            made = unpack(
                archive(*entries), new_tree(draft), below=map(LayerTree.read, unpacked[::-1])
            )
            finish_draft(draft, made.owners)
        except ArchiveError as caught:
            error = caught
        drafts = [draft + b".trees", draft + b".files"]
        try:
            plan(drafts[0], entries, unpacked[::-1])
            plan(drafts[1], entries, indexed[::-1])
        except ArchiveError as caught:
            refusal = caught.message
        else:
            refusal = ""
        if refusal:
            assert error or any(words in refusal for words in REFUSED), refusal
            return
        assert error is None, error
        expected = of_tree(draft + b"/tree"), read_owners(draft + b"/owners")
        for each in drafts:
            assert (of_index(each + LAYER_INDEX), read_owners(each + b"/owners")) == expected
        unpacked.append(LayerPath.of(draft))
        indexed.append(LayerPath.of(drafts[1]))


NOTE = {"SCHILY.xattr.user.note": "x", "SCHILY.xattr.trusted.x": "y"}
LOWER = [
    directory("d", mode=0o2750, uid=3, pax=NOTE),
    file("d/a", mode=0o4755, uid=7, pax=NOTE | {"mtime": "1600000000.123456789"}),
    directory("d/e"),
    file("d/e/f"),
    symlink("l", "d"),
    hard_link("d/b", "d/a"),
    Entry("null", "c", device=(1, 3)),
    Entry("pipe", "p", mode=0o600),
]


def test_all_there_is(place: bytes) -> None:
    upper = [
        file("d/new"),  # no member for d: it is like the one below
        file("d/.wh.a", b""),
        file("d/.wh.nothing", b""),
        file("d/e/.wh..wh..opq", b""),
        file("n/m/.wh.x", b""),
        file("d/e/f"),
    ]
    top = [directory("."), file(".wh..wh..opq", b""), file("d/a"), file("d/.wh.new", b"")]
    again = [file("d"), directory("d", uid=4), hard_link("h", "d/a"), file("d/a"), file("null")]
    stacks = [LOWER, upper, [file(".wh.d", b""), directory("d")]], [LOWER, top], [again]
    for number, layers in enumerate(stacks):
        os.mkdir(own := place + b"/stack%d" % number)
        in_namespace(partial(compare, own, layers))


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def some_entries(draw: st.DrawFn) -> list[Entry]:
    """Return members of a layer, some of which replace others or stand below files."""
    found: list[Entry] = []
    for path in draw(st.lists(PATHS, max_size=8)):
        kind = draw(st.sampled_from("fffddddlhhwwo"))
        parent, _, name = path.rpartition("/")
        uid = draw(st.integers(0, 2))
        if kind == "w":
            found.append(file(os.path.join(parent, ".wh." + name), b""))
        elif kind == "o":
            found.append(file(os.path.join(path, ".wh..wh..opq"), b""))
        else:
            mode = draw(st.sampled_from([0o755, 0o4700]))
            pax = draw(st.sampled_from([{}, NOTE]))
            link = draw(PATHS)
            found.append(Entry(path, kind, mode=mode, uid=uid, link=link, pax=pax))
    return found


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(layers=st.lists(some_entries(), min_size=1, max_size=3))
def test_random_layers(place: bytes, layers: list[list[Entry]]) -> None:
    with suppress(FileNotFoundError):
        remove_tree(place + b"/x")
    os.mkdir(place + b"/x")
    in_namespace(lambda: compare(place + b"/x", layers))


def test_work_for_deep_paths_is_counted(place: bytes) -> None:
    deep = "d/" * 40
    plan(place + b"/below", [directory(deep)], ())
    below = [LayerPath.of(place + b"/below")]

    def over_it(steps: int) -> None:
        planned(members([file(deep + "f")]), below, Meter(Limits(steps=steps)))

    with pytest.raises(ArchiveError, match="its paths take too long"):
        over_it(40 * 41 // 2)  # each directory is looked up from the root on
    over_it(1000)
