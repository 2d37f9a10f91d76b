"""Files of an overlay with two inode numbers: a run links files of lower layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import read_owners

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

# Commands that change `old`, a file of 5:6 in the layer below; then the owner of all its names.
CHANGES = {
    "link": ("ln old new", "5:6"),
    "link, then chown the new": ("ln old new; chown 7 new", "7:6"),
    "link, then chown the old": ("ln old new; chown 7:8 old", "7:8"),
    "chown, then link": ("chown 7:8 old; ln old new", "7:8"),
    "append, then link": ("echo >>old; ln old new; chown 7 new", "7:6"),
    "to root": ("ln old new; chown 0:0 new", "0:0"),
    "to root and back": ("ln old new; chown 0:0 new; chown 9:9 old", "9:9"),
    "by a third name": ("ln old new; ln new third; chown 7:8 third", "7:8"),
    "without a record below": ("ln plain new; ln -f new old; chown 7:8 old", "7:8"),
    "nobody's own": ("ln plain new; ln -f new old; chown 7:8 plain", "7:8"),
    "symlink": ("ln link new; chown -h 7:8 new; mv link old", "7:8"),
}


@pytest.fixture
def below(busybox: Container, tmp_path: Path) -> Container:
    """Return an overlay on a layer with the files ``old``, 5:6, ``plain``, 0:0, and a ``link``."""
    layer = busybox.on_overlay(tmp_path / "below")
    layer.sh("echo x >old; echo y >plain; ln -s plain link; chown 5:6 old; chown -h 5:6 link")
    return layer.next_layer(tmp_path / "above")


@pytest.mark.parametrize("change", CHANGES)
def test_all_names_have_the_same_owner(below: Container, change: str, tmp_path: Path) -> None:
    script, owner = CHANGES[change]
    show = "for f in old new; do stat -c %u:%g $f; done"
    assert below.sh(f"set -e; {script}; {show}") == f"{owner}\n" * 2
    manifest = read_owners(f"{below.upper}/owners".encode())
    recorded = [manifest.get(name) for name in (b"old", b"new")]
    if owner == "0:0":
        assert recorded == [None, None]
    else:
        assert [f"{found.uid}:{found.gid}" for found in recorded if found] == [owner] * 2
    assert below.next_layer(tmp_path / "next").sh(show) == f"{owner}\n" * 2


def test_what_comes_after_both_names_is_new(below: Container) -> None:
    script = "ln old new; chown 7:8 new; rm old new; for i in $(seq 50); do echo >$i; done"
    assert below.sh(f"{script}; stat -c %u:%g $(seq 50) | sort | uniq -c") == "     50 0:0\n"
    assert not [path for path in read_owners(f"{below.upper}/owners".encode()) if path.isdigit()]


def test_link_that_fails_changes_nothing(below: Container) -> None:
    assert below.sh("ln old plain 2>&1; ln nothing new 2>&1; stat -c %u:%g old plain") == (
        "ln: plain: File exists\nln: nothing: No such file or directory\n5:6\n0:0\n"
    )


def test_file_is_held_once(below: Container) -> None:
    """Each change of the owner, except to root, makes a new record of the same copy."""
    script = "i=0; while [ $i -lt 60 ]; do chown 7 plain; chown 0 plain; i=$((i + 1)); done"
    done = below.run("sh", "-c", script, options=("--stats",))
    assert int(done.stderr.rpartition(" descriptors")[0].rpartition(" ")[2]) < 50, done.stderr


def test_copies_are_held_and_new_files_are_not(busybox: Container, tmp_path: Path) -> None:
    layer = busybox.on_overlay(tmp_path / "below")
    layer.sh("for i in $(seq 40); do echo x >$i; ln -s $i l$i; done")
    numbers = iter(range(9))

    def held(script: str) -> int:
        above = layer.next_layer(tmp_path / f"{next(numbers)}")
        done = above.run("sh", "-c", script, options=("--stats",))
        return int(done.stderr.rpartition(" descriptors")[0].rpartition(" ")[2])

    few = held(":")
    new = "for i in $(seq 40); do echo x >n$i; ln -s $i m$i; done; sleep 0.1"
    assert held(f"{new}; chown 7 n*; chown -h 7 m*") < few + 10
    assert held("for i in $(seq 40); do chown 7 $i; chown -h 8 l$i; done") >= few + 80
    assert held("for i in $(seq 40); do echo >>$i; chown 9 $i; done") >= few + 40
