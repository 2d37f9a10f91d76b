"""Flattening and copying: they lose no file and leave no mark of overlayfs."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from sundog.image.layer.below import LayerTree
from sundog.image.layer.flatten import copy_tree, flatten
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.layer.namespace import in_namespace
from tests.image.layer.steps import layers_of, make_skeleton, shown
from tests.image.layer.trees import look

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ENTRIES = [
    directory("./", mode=0o751, mtime=77),
    directory("d", mode=0o2755, mtime=5, pax={"SCHILY.xattr.user.note": "on a directory"}),
    file("d/f", mode=0o4711, pax={"mtime": "1600000000.123456789"}),
    hard_link("d/g", "d/f"),
    hard_link("h", "d/f"),
    symlink("l", "/d/f", mtime=9),
    hard_link("l2", "l"),
    Entry("fifo", "p", mode=0o622),
    Entry("null", "c", device=(1, 3), mode=0o666),
    file("cap", pax={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}),
    directory("closed", mode=0),
    file("closed/in", mode=0),
    file("\xff\n"),
]


def test_a_copy_has_everything(place: bytes) -> None:
    def work() -> None:
        (layer,) = layers_of(place, ENTRIES)
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(layer.tree)
            listener.bind("socket")
        with open(layer.tree + b"/sparse", "wb") as sparse:
            for start in (1 << 20, 5 << 20, 9 << 20):
                sparse.seek(start)
                sparse.write(b"data" * 5000)
            sparse.truncate(12 << 20)
        copy_tree(layer.tree, place + b"/copy")
        assert look(place + b"/copy") == look(layer.tree)
        status = [os.stat(tree + b"/sparse") for tree in (layer.tree, place + b"/copy")]
        assert status[0].st_blocks == status[1].st_blocks

    in_namespace(work)


def test_times_of_the_topmost_directory_rule(place: bytes) -> None:
    layers = layers_of(
        place,
        [directory("./", mtime=1), directory("d", mtime=1, mode=0o700), file("d/a")],
        [directory("./", mtime=2), directory("d", mtime=2, mode=0o711), file("d/b")],
    )
    flatten(layers[::-1], place + b"/flat")
    seen = look(place + b"/flat")
    assert (seen[b""].mtime_ns, seen[b"d"].mtime_ns, seen[b"d"].mode) == (
        2 * 10**9,
        2 * 10**9,
        0o711,
    )
    assert {b"d/a", b"d/b"} <= set(seen)


def test_hard_links_within_a_layer_and_broken_ones(place: bytes) -> None:
    layers = layers_of(
        place,
        [file("a", b"1"), hard_link("b", "a"), hard_link("c", "a"), hard_link("d/e", "a")],
        [file("a", b"2"), file(".wh.c", b"")],
    )
    flatten(layers[::-1], place + b"/flat")
    seen = shown(place + b"/flat")
    assert seen[b"a"][2:] == (b"2", b"a")
    assert seen[b"b"][2:] == seen[b"d/e"][2:] == (b"1", b"b")
    assert b"c" not in seen


def test_the_skeleton_stays_under_a_root_opaque_layer(place: bytes) -> None:
    layers = layers_of(place, [file("old")], [file(".wh..wh..opq", b""), file("new")])
    skeleton = make_skeleton(place)
    flatten([LayerTree(skeleton, {}), layers[0]], place + b"/flat")
    assert {b"etc/hosts", b"tmp", b"new"} <= set(shown(place + b"/flat"))


def test_an_existing_directory_with_something_in_it(place: bytes) -> None:
    layers = layers_of(place, [file("a")])
    os.mkdir(place + b"/flat")
    flatten(layers, place + b"/flat")
    with pytest.raises(FileExistsError):
        flatten(layers, place + b"/flat")


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.EINVAL, errno.ENOSYS])
def test_where_the_kernel_cannot_copy(
    place: bytes, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(refusal, "refused")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (layer,) = layers_of(place, [file("big", b"0123456789" * 200_000), file("empty", b"")])
    copy_tree(layer.tree, place + b"/copy")
    assert look(place + b"/copy") == look(layer.tree)


def test_a_full_file_system_is_reported(place: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (layer,) = layers_of(place, [file("f")])
    with pytest.raises(OSError, match="full"):
        copy_tree(layer.tree, place + b"/copy")


def test_a_very_deep_tree(place: bytes) -> None:
    from sundog.image.layer.unpack import unpack

    os.mkdir(place + b"/tree")
    unpack(archive(file("/".join(["deep"] * 500))), place + b"/tree")
    copy_tree(place + b"/tree", place + b"/copy")
    assert look(place + b"/copy") == look(place + b"/tree")
