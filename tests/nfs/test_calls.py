"""How many calls of NFS a start takes, as the kernel counts them: docs/cluster.md, "Sizing"."""

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
    "by name": Start((SUNDOG, "busybox"), 60, 20),
    "SquashFS": Start((SUNDOG, "./image.sqfs"), 60, 20),
    "a directory": Start((SUNDOG, "./tree"), 60, 20),
}
PEERS = {
    "a directory": (CHARLIECLOUD, "./tree"),
    "SquashFS": (CHARLIECLOUD, "./image.sqfs"),
}


def calls(place: Place) -> int:
    """Return the number of calls that the node has made for the mount of the place."""
    text = place.site.nodes[NODE].run("cat", "/proc/self/mountstats").stdout
    (mount,) = [
        part
        for part in re.split(r"^device ", text, flags=re.MULTILINE)
        if f" mounted on {place.directory.parent} " in part
    ]
    operations = re.findall(r"^\s*([A-Z_]+): (\d+) ", mount.partition("per-op")[2], re.MULTILINE)
    return sum(int(count) for _, count in operations)


def counted(place: Place, *words: str) -> int:
    before = calls(place)
    place.run(NODE, *words, "--", "true")
    return calls(place) - before


def first_and_again(place: Place, *words: str) -> tuple[int, int]:
    """Count the calls of a start with empty caches, and of another one at once."""
    place.forget(NODE)
    return counted(place, *words), counted(place, *words)


@pytest.fixture
def filled(place: Place) -> Place:
    place.run(0, "ch-image", "import", str(prepared.base("busybox")), "busybox")
    place.run(0, "ch-convert", "busybox", "image.sqfs")
    place.run(0, "ch-convert", "busybox", "tree")
    place.run(NODE, SUNDOG, "busybox", "--", "true")  # notes the accounts
    return place


def test_starts(filled: Place) -> None:
    found = {name: first_and_again(filled, *start.words) for name, start in STARTS.items()}
    peers = {name: first_and_again(filled, *words) for name, words in PEERS.items()}
    print(f"{filled.directory.parent}: {found}, Charliecloud: {peers}")
    for name, start in STARTS.items():
        assert found[name][0] <= start.first, (name, found)
        assert found[name][1] <= start.again, (name, found)


@pytest.mark.parametrize("image", ["busybox", "./image.sqfs"])
def test_joining(filled: Place, image: str) -> None:
    """A process that joins asks nothing for itself; its command's file is in the node's cache."""
    script = f"{SUNDOG} --join-tag=t {image} -- true"
    whole = f"{SUNDOG} --join-tag=t {image} -- sh -c 'sleep 5; echo' & sleep 4; cat /proc/self/mountstats"
    filled.run(NODE, "sh", "-c", whole + script)
