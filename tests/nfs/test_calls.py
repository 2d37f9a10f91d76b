"""Calls of NFS that a start takes, as the kernel counts them.

docs/explanation/sizing.md uses these numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from scripts.vm import prepared

if TYPE_CHECKING:
    from tests.nfs.conftest import Place

NODE = 1
SUNDOG, CHARLIECLOUD = f"{prepared.SUNDOG}/bin/ch-run", "/usr/bin/ch-run"


@dataclass(frozen=True)
class Start:
    """A start of `true`, and the most calls that it may take: with empty caches, and again."""

    words: tuple[str, ...]
    first: int
    again: int


STARTS = {
    "by name": Start((SUNDOG, "busybox"), 80, 25),
    "SquashFS": Start((SUNDOG, "./image.sqfs"), 45, 12),
    "a directory": Start((SUNDOG, "./tree"), 70, 18),
}
PEERS = {
    "a directory": (CHARLIECLOUD, "./tree"),
    "SquashFS": (CHARLIECLOUD, "./image.sqfs"),
}


# $1 is the program, $2 the image: prints what the kernel has counted before and after a peer.
JOINING = """
rm -f ready
"$1" --join-tag=t "$2" -- sh -c 'echo ready; read line' >ready <fifo &
exec 3>fifo
until grep -q ready ready; do sleep 0.1; done
cat /proc/self/mountstats
"$1" --join-tag=t "$2" -- true || exit 1
echo "$0"
cat /proc/self/mountstats
"""
BETWEEN = "-- after --"


def total(place: Place, text: str) -> int:
    """Return the number of calls for the mount of the place, of /proc/self/mountstats."""
    (mount,) = [
        part
        for part in re.split(r"^device ", text, flags=re.MULTILINE)
        if f" mounted on {place.directory.parent} " in part
    ]
    operations = re.findall(r"^\s*[A-Z_0-9]+: (\d+) ", mount.partition("per-op")[2], re.MULTILINE)
    return sum(map(int, operations))


def counted(place: Place, *words: str) -> int:
    """Count the calls of a start of `true`."""

    def now() -> int:
        return total(place, place.site.nodes[NODE].run("cat", "/proc/self/mountstats").stdout)

    before = now()
    place.run(NODE, *words, "--", "true")
    return now() - before


def first_and_again(place: Place, *words: str) -> tuple[int, int]:
    """Count the calls of a start with empty caches, and of another one at once."""
    place.forget(NODE)
    return counted(place, *words), counted(place, *words)


@pytest.fixture
def filled(place: Place) -> Place:
    place.run(0, "ch-image", "import", str(prepared.base("busybox")), "busybox")
    place.run(0, "ch-convert", "busybox", "image.sqfs")
    place.run(0, "ch-convert", "busybox", "./tree")
    place.run(NODE, SUNDOG, "busybox", "--", "true")  # notes the accounts
    return place


def test_starts(filled: Place) -> None:
    """Each start stays within its limits; the peer's numbers are printed beside."""
    found = {name: first_and_again(filled, *start.words) for name, start in STARTS.items()}
    peers = {name: first_and_again(filled, *words) for name, words in PEERS.items()}
    print(f"{filled.directory.parent}: {found}, Charliecloud: {peers}")
    for name, start in STARTS.items():
        assert found[name][0] <= start.first, (name, found)
        assert found[name][1] <= start.again, (name, found)


@pytest.mark.parametrize(("image", "most"), [("busybox", 12), ("./image.sqfs", 4)])
def test_joining(filled: Place, image: str, most: int) -> None:
    """A process that joins asks for its command's file, if that is not in one file."""
    filled.run(NODE, "mkfifo", "fifo")
    done = filled.run(NODE, "sh", "-c", JOINING, BETWEEN, SUNDOG, image)
    before, after = done.stdout.split(BETWEEN)
    found = total(filled, after) - total(filled, before)
    print(f"{filled.directory.parent}, joining {image}: {found}")
    assert found <= most
