"""Whiteouts and opaque directories: an overlay and a flattened tree show the same."""

from __future__ import annotations

import io
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.flatten import flatten
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.unpack import unpack
from sundog.image.layer.write_tar import write_tar
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.layer.namespace import in_namespace, mounted
from tests.image.layer.steps import layers_of, ls_and_find, shown

WHITEOUT = OwnerRecord("w")
OPAQUE = OwnerRecord("d", opaque=True)
ROOT_OPAQUE = [file(".wh..wh..opq", b""), file("new")]
BASE = [
    directory("d"),
    file("d/x"),
    file("d/keep"),
    directory("d/sub"),
    file("d/sub/in"),
    file("f"),
    symlink("l", "f"),
    directory("e"),
    file("e/x"),
]

# name → (the layers, bottom first; the names that show, without directories above them)
CASES: dict[str, tuple[list[list[Entry]], set[str]]] = {
    "a file": ([BASE, [file("d/.wh.x", b"")]], {"d/keep", "d/sub/in", "f", "l", "e/x"}),
    "a directory": ([BASE, [file(".wh.d", b"")]], {"f", "l", "e/x"}),
    "at the root": ([BASE, [file(".wh.f", b""), file(".wh.l", b"")]], {
        "d/x", "d/keep", "d/sub/in", "e/x"}),
    "root opaque": ([BASE, ROOT_OPAQUE], {"new"}),
    "root opaque in the middle": ([BASE, ROOT_OPAQUE, [file("later")]], {"new", "later"}),
    "whiteout above root opaque": ([BASE, ROOT_OPAQUE, [file(".wh.new", b"")]], set()),
    "in the first layer": ([[*BASE, file("d/.wh.x", b""), file(".wh.ghost", b"")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "opaque in the first layer": ([[*BASE, file("d/.wh..wh..opq", b"")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "in a new directory": ([BASE, [directory("n"), file("n/.wh.x", b""), file("n/y")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x", "n/y"}),
    "alone in a new directory": ([BASE, [file("n/.wh.x", b"")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x", "n/"}),
    "in an opaque one": ([BASE, [
        directory("d"), file("d/.wh.x", b""), file("d/.wh..wh..opq", b""), file("d/new")]], {
        "d/new", "f", "l", "e/x"}),
    "opaque after its members": ([BASE, [
        directory("d"), file("d/new"), directory("d/sub"), file("d/sub/new"),
        file("d/.wh..wh..opq", b"")]], {"d/new", "d/sub/new", "f", "l", "e/x"}),
    "opaque without its directory": ([BASE, [file("d/.wh..wh..opq", b"")]], {
        "d/", "f", "l", "e/x"}),
    "whiteout and then a file": ([BASE, [file("d/.wh.x", b""), file("d/x", b"new")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "whiteout and then a directory": ([BASE, [file(".wh.d", b""), directory("d"), file("d/n")]], {
        "d/n", "f", "l", "e/x"}),
    "a directory and then its whiteout": (
        [BASE, [directory("d"), file("d/n"), file(".wh.d", b"")]], {"d/n", "f", "l", "e/x"}),
    "a file and then its whiteout": ([BASE, [file("f", b"new"), file(".wh.f", b"")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "whiteout of what a lower whiteout deleted": (
        [BASE, [file("d/.wh.x", b"")], [file("d/.wh.x", b"")]], {
            "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "back again": ([BASE, [file("d/.wh.x", b"")], [file("d/x", b"back")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "directory gone and back": ([BASE, [file(".wh.d", b"")], [directory("d"), file("d/n")]], {
        "d/n", "f", "l", "e/x"}),
    "a file over a directory, and back": ([BASE, [file("d")], [directory("d"), file("d/n")]], {
        "d/n", "f", "l", "e/x"}),
    "opaque over opaque": ([BASE, [file("d/.wh..wh..opq", b""), file("d/a")],
        [file("d/.wh..wh..opq", b""), file("d/b")]], {"d/b", "f", "l", "e/x"}),
    "through a symlink of a lower layer": (
        [[*BASE, symlink("way", "d")], [file("way/.wh.x", b""), file("way/new")]], {
            "d/new", "d/keep", "d/sub/in", "f", "l", "e/x", "way"}),
    "a symlink replaced on the way": (
        [[*BASE, symlink("way", "d")], [file(".wh.way", b""), file("way/new")]], {
            "d/x", "d/keep", "d/sub/in", "f", "l", "e/x", "way/new"}),
    "AUFS leftovers": ([BASE, [
        directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs", b"")]], {
        "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
    "a name that only looks like one": ([BASE, [file("d/.wh-x")]], {
        "d/.wh-x", "d/x", "d/keep", "d/sub/in", "f", "l", "e/x"}),
}  # fmt: skip


def shown_names(paths: set[str]) -> set[bytes]:
    """Return ``paths``, and the directories above them."""
    names = {b""}
    for path in paths:
        parts = path.rstrip("/").split("/")
        names |= {"/".join(parts[:n]).encode() for n in range(1, len(parts) + 1)}
    return names


@pytest.mark.parametrize("case", CASES)
def test_overlay_and_flattened_tree_agree(case: str, place: bytes) -> None:
    archives, expected = CASES[case]

    def work() -> None:
        layers = layers_of(place, *archives)
        flat = place + b"/flat"
        flatten(visible(layers)[::-1], flat)
        with mounted([layer.tree for layer in visible(layers)], place + b"/mount") as mount:
            assert shown(mount) == shown(flat)
            assert ls_and_find(mount) == ls_and_find(flat)
        assert set(shown(flat)) == shown_names(expected)
        assert not [path for path, seen in shown(flat).items() if seen[0] == "c"]

    in_namespace(work)


def visible(layers: list) -> list:  # type: ignore[type-arg]
    """Return ``layers`` down to a root-opaque one, as the store does."""
    for number, layer in enumerate(layers):
        root = layer.owners.get(b"")
        if root is not None and root.opaque:
            return layers[: number + 1]
    return layers


def test_whiteouts_are_data(place: bytes) -> None:
    layers = layers_of(
        place,
        BASE,
        [
            file("d/.wh.x", b""),
            file(".wh.ghost", b""),
            file("d/sub/.wh..wh..opq", b""),
            file("n/.wh..wh..opq", b""),
            directory("n", uid=5, pax={"SCHILY.xattr.user.a": "b"}),
        ],
    )
    assert layers[0].owners == {
        b"d/x": WHITEOUT,
        b"ghost": WHITEOUT,
        b"d/sub": OPAQUE,
        b"n": OwnerRecord("d", 5, opaque=True),
    }
    tree = layers[0].tree
    mark = os.lstat(tree + b"/d/x")
    assert (stat.S_ISCHR(mark.st_mode), mark.st_rdev) == (True, 0)
    assert not os.path.lexists(tree + b"/ghost")
    assert os.listxattr(tree + b"/d/sub") == ["user.overlay.opaque"]
    assert os.listxattr(tree + b"/n") == ["user.a"]


@pytest.mark.parametrize(
    ("entries", "has_whiteouts", "root_opaque", "needs_below"),
    [
        ([directory("./"), directory("d"), file("d/a")], False, False, False),
        ([file("new")], False, False, False),
        ([file("d/a")], False, False, True),  # d is the same in the layer below
        ([hard_link("new", "f")], False, False, True),
        ([file(".wh.ghost", b"")], True, False, True),
        (ROOT_OPAQUE, True, True, True),
    ],
)
def test_what_a_layer_says_of_itself(
    place: bytes,
    entries: list[Entry],
    has_whiteouts: bool,
    root_opaque: bool,
    needs_below: bool,
) -> None:
    below = layers_of(place, BASE)
    os.mkdir(place + b"/tree")
    result = unpack(archive(*entries), place + b"/tree", below=below)
    assert (result.has_whiteouts, result.root_opaque, result.needs_below) == (
        has_whiteouts,
        root_opaque,
        needs_below,
    )


def test_implied_directories_are_like_those_below(place: bytes) -> None:
    layers = layers_of(
        place,
        [
            directory("./", mode=0o750, uid=1, mtime=11),
            directory("d", mode=0o2700, gid=7, mtime=22, pax={"SCHILY.xattr.user.a": "b"}),
        ],
        [file("d/new")],
    )
    status = [os.stat(os.path.join(layers[0].tree, name)) for name in (b"", b"d")]
    assert [(stat.S_IMODE(s.st_mode), s.st_mtime) for s in status] == [(0o750, 11), (0o2700, 22)]
    assert os.getxattr(layers[0].tree + b"/d", "user.a") == b"b"
    assert layers[0].owners == {b"": OwnerRecord("d", 1), b"d": OwnerRecord("d", 0, 7)}


def test_hard_links_to_lower_files(place: bytes) -> None:
    def work() -> None:
        layers = layers_of(
            place,
            [
                directory("h"),
                file("h/a", b"a\n", mode=0o4755, uid=3),
                hard_link("h/b", "h/a"),
                symlink("h/s", "a"),
                symlink("way", "h"),
                Entry("h/null", "c", device=(1, 3)),
            ],
            [
                hard_link("h/c", "way/a"),
                hard_link("h/s2", "h/s"),
                hard_link("h/null2", "h/null"),
                hard_link("new/d", "h/c"),
            ],
            [file("h/.wh.a", b""), hard_link("h/e", "/new/d")],
        )
        flat = place + b"/flat"
        flatten(layers[::-1], flat)
        with mounted([layer.tree for layer in layers], place + b"/mount") as mount:
            assert shown(mount) == shown(flat)
        names = shown(flat)
        assert b"h/a" not in names
        assert {names[n][3] for n in (b"h/b", b"h/c", b"h/e", b"new/d")} == {b"h/b"}
        assert names[b"h/e"][:3] == ("f", 0o4755, b"a\n")
        assert names[b"h/s2"][2] == b"a"
        owner = OwnerRecord("f", 3)
        null = OwnerRecord("c", rdev=os.makedev(1, 3))
        assert layers[1].owners == {
            **dict.fromkeys((b"h/a", b"h/b", b"h/c", b"new/d"), owner),
            **dict.fromkeys((b"h/null", b"h/null2"), null),
        }

    in_namespace(work)


@pytest.mark.parametrize("entry", [hard_link("h", "d/x"), hard_link("h", "d/sub/in")])
def test_no_hard_link_to_what_is_deleted(place: bytes, entry: Entry) -> None:
    with pytest.raises(ArchiveError, match="not there"):
        layers_of(place, BASE, [file("d/.wh.x", b""), file("d/sub/.wh..wh..opq", b""), entry])


def test_no_hard_link_to_a_mark(place: bytes) -> None:
    with pytest.raises(ArchiveError, match="not there"):
        layers_of(place, BASE, [file(".wh.f", b""), hard_link("y", "f")])


NAMES = st.sampled_from(["a", "b", "a/b", "a/c", "a/b/c", "b/a", "a/b/c/d"])
MARKS = NAMES.map(lambda name: "/".join((*name.split("/")[:-1], ".wh." + name.split("/")[-1])))
MEMBERS = st.one_of(
    NAMES.map(directory),
    st.builds(file, NAMES, st.binary(max_size=3)),
    MARKS.map(lambda name: file(name, b"")),
    st.sampled_from(["", "a/", "a/b/", "b/"]).map(lambda d: file(d + ".wh..wh..opq", b"")),
    st.builds(symlink, NAMES, st.sampled_from(["/a", "b", "../a"])),
)
LAYERS = st.lists(st.lists(MEMBERS, max_size=6), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(LAYERS)
def test_arbitrary_layers_agree_and_come_back(archives: list[list[Entry]]) -> None:
    """Overlay and copy show the same; a layer's tar unpacks to an equal layer."""
    import tempfile

    def work() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            place = os.fsencode(scratch)
            try:
                layers = layers_of(place, *archives)
            except ArchiveError:
                layers = []
            flat = place + b"/flat"
            flatten(visible(layers)[::-1], flat)
            if layers:
                with mounted([layer.tree for layer in visible(layers)], place + b"/mount") as mount:
                    assert shown(mount) == shown(flat)
                    assert ls_and_find(mount) == ls_and_find(flat)
                out = io.BytesIO()
                write_tar(out, layers[0].tree, layers[0].owners)
                again = place + b"/again"
                os.mkdir(again)
                result = unpack(io.BytesIO(out.getvalue()), again, below=layers[1:])
                assert result.owners == layers[0].owners
                assert shown(again) == shown(layers[0].tree)
            remove_tree(place)
            os.mkdir(place)

    in_namespace(work)
