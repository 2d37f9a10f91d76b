"""Joined layers show the same, at any place of a stack: the kernel and GNU tar are the oracles."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.guesses import Guesses, guesses_of, listed_guesses
from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.below import Below, LayerTree
from sundog.image.layer.flat_tar import write_layers
from sundog.image.layer.guessing import guesses_of_image
from sundog.image.layer.join import join
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.tar_writer import TarWriter
from sundog.image.layer.unpack import unpack
from sundog.image.layer.write_tar import write_tar
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.layer.namespace import in_namespace, mounted
from tests.image.layer.steps import layers_of, shown
from tests.image.layer.test_flatten import CAPABILITY
from tests.image.layer.test_whiteouts import BASE, CASES, LAYERS, visible


def join_run(
    place: bytes, layers: list[LayerTree], start: int, end: int, name: bytes = b"joined"
) -> list[LayerTree]:
    """Return ``layers``, the topmost first, with those from ``start`` to ``end`` joined."""
    tree = os.path.join(place, name)
    os.mkdir(tree)
    run = layers[start:end]
    owners, is_unseen = join(visible(run), visible(layers[end:]), tree)
    guesses = Guesses({b"": True}) if is_unseen else guesses_of(tree, listed_guesses(tree))
    guessed = any(layer.guessed for layer in run)
    return [*layers[:start], LayerTree(tree, owners, guessed, guesses), *layers[end:]]


def flat(layers: list[LayerTree]) -> bytes:
    """Return the tar of all that shows: owners, devices, attributes, set-id bits, times, links."""
    out = io.BytesIO()
    archive = TarWriter(out)
    write_layers(archive, visible(layers), {})
    archive.end()
    return out.getvalue()


def check_equal(place: bytes, layers: list[LayerTree], other: list[LayerTree]) -> None:
    """Check that two stacks show the same, in an overlay and in a tar."""
    scratch = tempfile.mkdtemp(dir=place)
    with (
        mounted([layer.tree for layer in visible(layers)], scratch + b"/mount") as one,
        mounted([layer.tree for layer in visible(other)], scratch + b"/other") as two,
    ):
        assert shown(one) == shown(two)
    assert flat(layers) == flat(other)
    assert guesses_of_image(visible(layers)) == guesses_of_image(visible(other))


def check_tar(place: bytes, layer: LayerTree, below: list[LayerTree]) -> None:
    """Check that the tar of a layer unpacks to that layer."""
    out = io.BytesIO()
    write_tar(out, layer.tree, layer.owners)
    again = place + b"/again"
    os.mkdir(again)
    assert unpack(io.BytesIO(out.getvalue()), again, below=below).owners == layer.owners
    assert shown(again) == shown(layer.tree)
    remove_tree(again)


@settings(max_examples=40, deadline=None)
@given(LAYERS, st.data())
def test_arbitrary_layers(archives: list[list[Entry]], data: st.DataObject) -> None:
    owners = st.sampled_from([0, 0, 7])
    archives = [[replace(e, uid=data.draw(owners)) for e in entries] for entries in archives]
    start = data.draw(st.integers(0, len(archives) - 1))
    end = data.draw(st.integers(start + 1, len(archives)))

    def work() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            place = os.fsencode(scratch)
            try:
                layers = layers_of(place, *archives)
                other = join_run(place, layers, start, end)
                check_equal(place, layers, other)
                check_tar(place, other[start], visible(other[start + 1 :]))
            except ArchiveError:
                pass  # a whiteout of what is not there, say
            remove_tree(place)
            os.mkdir(place)

    in_namespace(work)


@pytest.mark.parametrize("case", CASES)
def test_each_run_of_layers(case: str, place: bytes) -> None:
    archives, _ = CASES[case]

    def work() -> None:
        top = [file("top"), file("e/.wh.x", b"")]
        layers = layers_of(place, [directory("d"), file("d/lowest")], *archives, top)
        for start in range(len(layers)):
            for end in range(start + 1, len(layers) + 1):
                name = b"joined-%d-%d" % (start, end)
                check_equal(place, layers, join_run(place, layers, start, end, name))

    in_namespace(work)


def test_all_that_files_have(place: bytes) -> None:
    def work() -> None:
        lowest = [directory("d", uid=5), directory("d/old"), file("d/old/x"), file("gone")]
        first = [
            directory("./", mode=0o751, mtime=77, gid=3),
            directory("d", mode=0o2755, mtime=5, uid=9, pax={"SCHILY.xattr.user.note": "x"}),
            file("d/f", mode=0o4711, uid=8, pax={"mtime": "1600000000.123456789"}),
            hard_link("d/g", "d/f"),
            hard_link("h", "d/f"),
            symlink("l", "/d/f", mtime=9, uid=4),
            Entry("fifo", "p", mode=0o622),
            Entry("null", "c", device=(1, 3), mode=0o666, gid=5),
            Entry("disk", "b", device=(8, 1), mode=0o660),
            file("cap", pax={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}),
            file("label", pax={"SCHILY.xattr.security.selinux": "a_label"}),
            directory("closed", mode=0),
            file("closed/in", mode=0),
            file("\xff\n"),
            file(".wh.gone", b""),
        ]
        second = [file("d/.wh.old", b""), file(".wh.h", b""), file("new", mode=0o6755, uid=1)]
        layers = layers_of(place, lowest, first, second)
        both = join_run(place, layers, 0, 2)
        check_equal(place, layers, both)
        check_tar(place, both[0], both[1:])
        assert {path for path, one in both[0].owners.items() if one.kind == "w"} == {
            b"gone",
            b"d/old",
        }
        every = join_run(place, layers, 0, 3, b"every")
        check_equal(place, layers, every)
        assert not [path for path, one in every[0].owners.items() if one.kind == "w"]
        # What is deleted and made again has nothing of what is below.
        layers = layers_of(place + b"/deleted", BASE, [file(".wh.d", b"")], [file("d/n")])
        assert join_run(place, layers, 0, 2, b"opaque")[0].owners == {
            b"d": OwnerRecord("d", opaque=True)
        }

    os.mkdir(place + b"/deleted")
    in_namespace(work)


def test_guessed_owners(place: bytes) -> None:
    """A joined layer knows of each file whether its layer's emulation forgot owners."""

    def work() -> None:
        known, forgotten, more = layers_of(
            place,
            [file("base"), directory("d"), file("d/base")],
            [directory("d"), file("d/ran"), file("su", mode=0o4755), file("ran")],
            [file("copied"), file("ran", b"a copy\n")],
        )[::-1]
        all_guessed = Guesses({b"": True})
        record = {b"su": OwnerRecord("f", guessed=True)}
        ran = LayerTree(forgotten.tree, forgotten.owners | record, True, all_guessed)
        layers = [more, ran, known]
        joined = join_run(place, layers, 0, 3)
        assert guesses_of_image(layers) == guesses_of_image(joined)
        paths = [b"base", b"d/base", b"d/ran", b"su", b"ran", b"copied"]
        with Below(layers) as view, Below(joined) as other:
            for path in paths:
                expected, found = view.lookup(path), other.lookup(path)
                assert expected is not None
                assert found is not None
                assert found.is_guessed == expected.is_guessed, path
                assert other.is_unseen(path) == view.is_unseen(path), path
        assert sorted(os.listdir(joined[0].tree + b"/ch")) == [b"guessed"]
        # All of a layer that only forgetful steps made is guessed, without a list.
        every = LayerTree(forgotten.tree, forgotten.owners, True, all_guessed)
        alone = join_run(place, [every], 0, 1, b"alone")[0]
        assert alone.guesses is not None
        assert alone.guesses.has(b"any")
        assert not os.path.exists(alone.tree + b"/ch")
        # The image has no place for the list: then all is guessed.
        odd, _ = layers_of(place + b"/odd", [file("x")], [symlink("ch", "/tmp")])
        full = join_run(place, [odd, ran, known], 0, 3, b"full")[0]
        assert full.guesses is not None
        assert full.guesses.has(b"base")
        assert os.readlink(full.tree + b"/ch") == b"/tmp"

    os.mkdir(place + b"/odd")
    in_namespace(work)


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "f/a"])
STEPS = st.lists(
    st.lists(st.tuples(st.booleans(), NAMES, st.binary(max_size=3)), max_size=5),
    min_size=2,
    max_size=6,
)


@settings(max_examples=12, deadline=None)
@given(STEPS)
def test_gnu_tar_shows_the_same(steps: list[list[tuple[bool, str, bytes]]]) -> None:
    """Unpacked one over the other, with rm(1) for whiteouts, the layers give the joined tree."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            place = os.fsencode(scratch)
            merged, out = place + b"/merged", place + b"/out"
            os.mkdir(merged)
            os.mkdir(out)
            archives = []
            for step in steps:
                removed = {name for is_removed, name, _ in step if is_removed}
                made = {name: data for is_removed, name, data in step if not is_removed}
                parents = sorted({f"{n.rpartition('/')[0]}" for n in made if "/" in n})
                for name in removed:
                    subprocess.run(["rm", "-rf", os.path.join(merged, name.encode())], check=True)
                entries = [
                    *map(directory, _all_parents(parents)),
                    *(file(*m) for m in made.items()),
                ]
                data = archive(*entries).getvalue()
                subprocess.run(["tar", "-x", "-C", merged], input=data, check=True)
                marks = [
                    file("/".join((*name.split("/")[:-1], f".wh.{name.split('/')[-1]}")), b"")
                    for name in removed
                    if os.path.isdir(os.path.join(merged, os.path.dirname(name.encode())))
                ]
                archives.append([*entries, *marks])
            layers = layers_of(place, *archives)
            joined = join_run(place, layers, 0, len(layers))[0]
            tar = io.BytesIO()
            write_tar(tar, joined.tree, joined.owners)
            subprocess.run(["tar", "-x", "-C", out], input=tar.getvalue(), check=True)
            assert {p: s[:3] for p, s in shown(out).items() if s[0] != "d"} == {
                p: s[:3] for p, s in shown(merged).items() if s[0] != "d"
            }

    in_namespace(work)


def _all_parents(directories: list[str]) -> list[str]:
    return sorted(
        {
            d[:end]
            for d in directories
            for end in range(1, len(d) + 1)
            if d[end : end + 1] in ("", "/")
        }
    )
