"""Files of lower layers that the supervisor finds by listing: many records, wrong ones, changes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.links import pack_links
from sundog.base.record.owners import OwnerRecord, pack_owners, read_owners
from sundog.runtime.emulation.notify.state.lower import (
    LOWEST_OF_LAYER,
    SPARSE,
    Listed,
    LowerRecords,
    OpenedLayer,
    shown_numbers,
)
from tests.runtime.notify.test_fast_path import needs_library

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

COUNT = 3 * SPARSE
LISTING = ("--few=0", "--stats")
OWNER = "stat -c %u:%g"
MAKE = f"""
mkdir d d/e; cd d
for i in $(seq {COUNT}); do echo x >$i; chown $((i + 10)):6 $i; ln -s $i l$i; chown -h 7:8 l$i; done
for i in $(seq {COUNT}); do echo x >e/$i; chown 9:9 e/$i; done
mknod null c 1 3; chown 3:4 null; attribute set trusted.x y 1; ln 2 two; chown 5:5 e
"""


@pytest.fixture
def below(busybox: Container, tmp_path: Path) -> Container:
    """Return an overlay on a layer whose directories ``d`` and ``d/e`` have many records."""
    layer = busybox.on_overlay(tmp_path / "below")
    layer.sh(MAKE)
    assert layer.upper is not None
    (layer.upper / "links").write_bytes(pack_links([b"d/2", b"d/two"]))
    return layer.next_layer(tmp_path / "above")


def owners(container: Container) -> dict[bytes, tuple[int, int]]:
    """Return the owners in the records of the new layer."""
    manifest = read_owners(f"{container.upper}/owners".encode())
    return {path: (record.uid, record.gid) for path, record in manifest.items()}


def listed(container: Container, script: str) -> str:
    """Run a script; the supervisor lists directories."""
    return container.run("sh", "-c", script, options=("--few=0",)).stdout


def test_owners_are_seen_and_nothing_is_held_open(below: Container) -> None:
    script = f"cd d; {OWNER} 1 2 two l5 e e/3 null; stat -c %F null; attribute get trusted.x 1"
    done = below.run("sh", "-c", script, options=LISTING)
    assert done.stdout.split() == [
        *("11:6", "12:6", "12:6", "7:8", "5:5", "9:9", "3:4"),
        *("character", "special", "file", "y"),
    ]
    # The files that a call has met, and the two names.
    assert int(done.stderr.rpartition(" descriptors")[0].rpartition(" ")[2]) < COUNT, done.stderr
    assert owners(below) == {}


@pytest.mark.parametrize(
    ("difference", "is_layer"),
    [(0, True), (LOWEST_OF_LAYER, True), (3 * LOWEST_OF_LAYER, True), (1, False), (-7, False)],
)
def test_a_copy_has_other_numbers(difference: int, *, is_layer: bool) -> None:
    """One file of a layer with few records does not tell the numbers of the other files."""
    status = os.stat("/etc/passwd")
    listed = Listed()
    listed.entries = {b"etc/passwd": OwnerRecord("f", 1, 1)}
    listed.samples = [(b"etc/passwd", status.st_ino - difference)]
    assert shown_numbers(listed) == ((status.st_dev, difference) if is_layer else None)


def held(container: Container, script: str, *options: str) -> int:
    """Return how many descriptors the supervisor has at the end of a ``script``."""
    done = container.run("sh", "-c", f"cd d; {script}", options=(*LISTING, *options))
    return int(done.stderr.rpartition(" descriptors")[0].rpartition(" ")[2])


# Changes of $i, after which the overlay shows the file's number no longer than it is held open.
COPYING_UP = (
    *(
        "touch $i",
        "touch -h l$i",
        "chmod 600 $i",
        "chown -h 1:2 l$i",
        "echo >>$i",
        "truncate -s9 $i",
    ),
    *("mv $i x$i", "ln $i x$i", "attribute set user.x y $i", "attribute write $i"),
    *("attribute remove user.y $i", "attribute set security.x y $i", "touch /proc/self/cwd/$i"),
    "attribute flag $i",
)


@pytest.mark.parametrize("change", COPYING_UP)
def test_each_file_that_changes_is_held_open(
    busybox: Container, change: str, tmp_path: Path
) -> None:
    layer = busybox.on_overlay(tmp_path / "below")
    make = "echo x >$i; ln -s $i l$i; attribute set user.y z $i"
    layer.sh(f"mkdir d; cd d; for i in $(seq {COUNT}); do {make}; done; chown -h 5:6 *")
    above = layer.next_layer(tmp_path / "above")
    assert held(above, f"set -e; for i in $(seq {COUNT}); do {change}; done") > COUNT


@needs_library
def test_each_file_whose_times_change_over_the_fast_path_is_held_open(
    debian: Container, tmp_path: Path
) -> None:
    debian.sh(f"mkdir d; cd d; touch $(seq {COUNT}); chown 5:6 *")
    above = debian.next_layer(tmp_path / "above")
    assert held(above, f"touch -h $(seq {COUNT})", "--fast") > COUNT


# A change of files in d; the owners afterwards of some files there, and the records of the layer.
CHANGES = {
    "chown": ("chown 1:2 3; chown 1:2 e/4", "3 4 e/4", ["1:2", "14:6", "1:2"], {b"d/3": (1, 2)}),
    "append": ("echo >>3", "3 4", ["13:6", "14:6"], {b"d/3": (13, 6)}),
    "write in place": ("echo y 1<>3", "3", ["13:6"], {b"d/3": (13, 6)}),
    "rename": ("mv 3 new; mv l4 m4", "new m4", ["13:6", "7:8"], {b"d/new": (13, 6)}),
    "replace": ("echo y >new; mv new 3", "3", ["0:0"], {}),
    "to root": ("chown 0:0 3", "3", ["0:0"], {}),
    "chmod": ("chmod 600 3", "3", ["13:6"], {b"d/3": (13, 6)}),
    "link": ("ln 3 new; echo >>3", "3 new", ["13:6", "13:6"], {b"d/3": (13, 6)}),
    "a link of below": ("echo >>two", "2 two", ["12:6", "12:6"], {b"d/two": (12, 6)}),
    "directory": ("mv e f", "f f/3", ["5:5", "9:9"], {b"d/f/3": (9, 9)}),
    "hidden": ("rm -r e; mkdir e; echo x >e/3", "e e/3", ["0:0", "0:0"], {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_keep_owners_as_if_each_file_had_been_looked_at(
    below: Container, change: str, tmp_path: Path
) -> None:
    script, names, seen, recorded = CHANGES[change]
    other = below.roots
    assert listed(below, f"set -e; cd d; {script}; {OWNER} {names}").split() == seen
    found = owners(below)
    assert recorded.items() <= found.items()
    assert b"d/e/3" not in found or change != "hidden"
    looked_at = type(below)(other).on_overlay(tmp_path / "looked-at")
    assert looked_at.sh(f"set -e; cd d; {script}; {OWNER} {names}").split() == seen
    assert owners(looked_at) == found
    after = below.next_layer(tmp_path / "next")
    assert listed(after, f"cd d; {OWNER} {names}").split() == seen


def test_layer_above_decides(below: Container, tmp_path: Path) -> None:
    listed(below, f"cd d; for i in $(seq {SPARSE + 1}); do chown 0:0 $i; done; rm 20; rm -r e")
    above = below.next_layer(tmp_path / "more")
    script = f"cd d; {OWNER} 1 {SPARSE + 1} {SPARSE + 2}; echo x >20; {OWNER} 20"
    assert listed(above, script).split() == ["0:0", "0:0", f"{SPARSE + 12}:6", "0:0"]


def test_another_name_made_behind_the_back(below: Container) -> None:
    """The list of links is wrong now, so the supervisor looks at all files."""
    tree = below.roots[0].partition(":")[0]
    for directory in ("d", "d/e"):
        for name in map(str, range(1, COUNT + 1)):
            os.link(f"{tree}/{directory}/{name}", f"{tree}/{directory}/other-{name}")
    assert listed(below, f"cd d; echo >>3; {OWNER} 3 other-3 e/4").split() == [
        "13:6",
        "13:6",
        "9:9",
    ]
    assert owners(below) == {b"d/3": (13, 6)}


def test_tree_that_was_copied_or_changed_behind_the_back(below: Container) -> None:
    """Other inode numbers than when the layer was made; missing files, and files of other types."""
    tree = below.roots[0].partition(":")[0]
    shutil.copytree(f"{tree}/d", f"{tree}/copy", symlinks=True)
    os.rename(f"{tree}/d", f"{tree}/old")
    os.rename(f"{tree}/copy", f"{tree}/d")
    os.unlink(f"{tree}/d/3")
    os.unlink(f"{tree}/d/4")
    os.symlink("5", f"{tree}/d/4")
    script = f"cd d; {OWNER} 1 4 5 e/3; echo x >3; {OWNER} 3; {OWNER} ../old/6"
    assert listed(below, script).split() == ["11:6", "0:0", "15:6", "9:9", "0:0", "0:0"]


def test_mount_that_hides_a_directory(below: Container) -> None:
    script = f"mount -t tmpfs x d/e; echo x >d/e/3; {OWNER} d/e/3; umount d/e; {OWNER} d/e/3"
    assert listed(below, script).split() == ["0:0", "9:9"]


def test_hostile_paths_and_kinds_are_no_files(tmp_path: Path) -> None:
    """A manifest says what it likes; the listing stays in the tree."""
    (tmp_path / "tree/d").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "tree/link").symlink_to(outside)
    for number in range(COUNT):
        (outside / f"{number}").touch()
        (tmp_path / f"tree/d/{number}").symlink_to("x")
    names = [b"%d" % number for number in range(COUNT)]
    manifest = {
        prefix + name: OwnerRecord("f", 1)
        for prefix in (b"../outside/", b"link/", b"d/", b"d/../../outside/", b"missing/", b"/d/")
        for name in names
    }
    tree = os.open(tmp_path / "tree", os.O_RDONLY)
    try:
        layer = OpenedLayer(tree, manifest, frozenset([b"../outside/1", b"nowhere"]))
        lower = LowerRecords([layer], is_stable=True, may_change=False)
        assert not lower.listed
        assert lower.looked_up == manifest
    finally:
        os.close(tree)


@pytest.mark.parametrize("may_change", [False, True])
def test_listing_finds_what_manifests_say(tmp_path: Path, may_change: bool) -> None:
    """All is found once: listed, or left to look at; of changing files only if there are many."""
    (tmp_path / "d").mkdir()
    manifest = {
        b"d": OwnerRecord("d", 1),
        b"x": OwnerRecord("f", 2),
        b"d/gone": OwnerRecord("f", 3),
    }
    for number in range(COUNT):
        (tmp_path / f"d/{number}").touch()
        manifest[b"d/%d" % number] = OwnerRecord("f", number % 3, 4)
    (tmp_path / "x").touch()
    os.link(tmp_path / "d/1", tmp_path / "d/again")
    tree = os.open(tmp_path, os.O_RDONLY)
    try:
        lower = LowerRecords([OpenedLayer(tree, manifest)], is_stable=True, may_change=may_change)
    finally:
        os.close(tree)
    if may_change:  # they are few
        assert not lower.listed
        assert lower.linked == {b"d/1"}
        assert lower.looked_up == manifest
        return
    assert set(lower.looked_up) == {b"d", b"x", b"d/gone"}
    (found,) = lower.listed
    numbers = [number for _, numbers in found.numbers.values() for number in numbers]
    assert sorted(numbers) == sorted((tmp_path / f"d/{n}").stat().st_ino for n in range(COUNT))
    assert {**found.entries, **lower.looked_up} == manifest
    assert pack_owners(found.entries)
