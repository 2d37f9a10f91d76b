"""Damage SquashFS files, read what is left: ``python -m tests.runtime.squashfs.damage SEED PLACE``.

The process takes a batch of inputs, made from the files in PLACE/known.  It ends with the status 0
if each was read as far as it goes, or ended in one of Sundog's errors.  Another exception, too much
memory or too much time ends it in another way; PLACE/input is then the input.
"""

from __future__ import annotations

import os
import random
import resource
import sys
from itertools import islice
from pathlib import Path

from sundog.errors import SundogError
from sundog.runtime.squashfs.image import SquashfsImage
from sundog.runtime.squashfs.walk import walk_paths
from tests.runtime.squashfs.made import owner_records

BATCH = 100  # inputs that one process takes
MEMORY = 200 << 20  # bytes of address space beyond what the process has
CPU = 10  # seconds for one input
PATHS = 80  # of an input that are looked at
NUMBERS = (
    *(0, 1, 2, 3, 7, 8, 12, 14, 15, 20, 255, 256, 4096, 8191, 8192, 8193, 0x7FFF, 0x8000, 0xFFFF),
    *(1 << 20, 1 << 24, (1 << 24) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1),
    *(1 << 32, 1 << 48, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)
# Offset and size of each field of the superblock.
FIELDS = (
    *((at, 4) for at in range(0, 20, 4)),
    *((at, 2) for at in range(20, 32, 2)),
    *((at, 8) for at in range(32, 96, 8)),
)


def damaged(rng: random.Random, known: list[bytes]) -> bytes:
    """Return one of the ``known`` files with some damage."""
    data = bytearray(rng.choice(known))
    for _ in range(rng.choice((1, 1, 2, 4, 10))):
        at = rng.randrange(len(data))
        if rng.random() < 0.5:  # where the tables are
            at = rng.randrange(len(data) * 2 // 3, len(data))
        way = rng.randrange(6)
        if way == 0:
            data[at] = rng.randrange(256)
        elif way == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) + rng.choice((0, 0, 0, at, -1))
            put(data, at, number, size)
        elif way == 3:
            at, size = rng.choice(FIELDS)
            put(data, at, rng.choice((*NUMBERS, rng.randrange(len(data)))), size)
        elif way == 4:
            size = rng.randrange(1, 300)
            source = rng.randrange(len(data))
            part = data[source : source + size]
            data[at : at + len(part)] = part
        elif rng.random() < 0.2:
            del data[at:]
            data += bytes(max(0, 96 - len(data)))
    return bytes(data)


def put(data: bytearray, at: int, number: int, size: int) -> None:
    """Put a number into ``data``, as far as it has room."""
    data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")[: len(data) - at]


def read_all(path: Path) -> None:
    """Read what there is; errors of Sundog are right."""
    fd = os.open(path, os.O_RDONLY)
    try:
        image = SquashfsImage(fd)
        paths = 0
        try:
            for _, inode in walk_paths(image):
                paths += 1
                look(image, inode.reference)
                if paths > PATHS:
                    break
            list(islice(owner_records(image), PATHS))
        finally:
            # Any number may come from the kernel as a reference.
            for reference in (0, 32, 1 << 47, image.root + 1):
                look(image, reference)
    except SundogError as error:
        assert "\n" not in error.message  # noqa: PT017 - which one is of no matter
    finally:
        os.close(fd)


def look(image: SquashfsImage, reference: int) -> None:
    """Do with an inode what a server does; one error does not keep it from the next call."""
    try:
        inode = image.inode(reference)
    except SundogError:
        return
    for call in (
        lambda: image.xattrs(inode),
        lambda: image.read(inode, 0, 1 << 17),
        lambda: image.read(inode, max(inode.size - 5000, 0), 1 << 17),
        lambda: image.lookup(inode, b"file"),
        lambda: image.lookup(inode, b"700nnnnnnnnnnnnnnnnnnnn"),
        lambda: list(islice(image.entries(inode), 300)),
        lambda: list(islice(image.entries(inode, inode.size // 2), 300)),
        lambda: list(islice(image.holes(inode), 300)),
    ):
        try:
            call()
        except SundogError:
            continue


def main(seed: str, place: Path) -> None:
    """Try a batch of inputs."""
    known = [path.read_bytes() for path in sorted((place / "known").iterdir())]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    rng = random.Random(seed)
    for _ in range(BATCH):
        (place / "input").write_bytes(damaged(rng, known))
        limit = int(sum(os.times()[:2])) + CPU
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        read_all(place / "input")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
