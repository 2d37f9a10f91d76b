"""The parts of a stored image: directories of a storage directory, and their references."""

from __future__ import annotations

import re
from itertools import takewhile

from scripts.pictures.svg import LINE, PAD, WIDTH, Box, Drawing, height_of, wrap
from sundog.image.store import directory

# What a directory of an image and one of a layer hold.  tests/system/test_pictures.py compares
# them with a store.
IMAGE = {
    "config.json": "command, variables, user",
    "image.json": "its layers, where it came from",
    "stack": "the same for ch-run: what to mount",
    "root/": "/ch/environment, mount points of volumes",
}
LAYER = {
    "tree/": "the files, all with your user as the owner",
    "owners": "what inodes don't show: owners, devices, attributes, whiteouts",
    "links": "recorded files with several names",
    "layer.json": "its source, digests, who has its blob",
    "users/": "links to what refers to it",
}
# The other directories, in words.
WORDS = {
    "accounts": "users of the host, for the compiled start",
    "cache-mounts": "directories of RUN --mount=type=cache",
    "containers": "containers that sundog run keeps",
    "convert": "temporary images of ch-convert",
    "deleted": "descriptions of deleted images, for undelete",
    "dlcache": "empty: other programs look for it",
    "empty": "an empty directory, to mount",
    "gzip-indexes": "where to begin in layers of gzip",
    "host-libraries": "what ch-run --host-mpi has found",
    "img": "links to images by name, for other programs",
    "imported": "results of builds that came in a file",
    "layouts": "which OCI layouts are in storage",
    "locks": "locks of commands",
    "platforms": "notes of images for other platforms",
    "probe": "which driver works here",
    "refused": "blobs whose tables are not true",
    "run": "what is known of running containers",
    "running": "notes of other nodes about layers in use",
    "shown": "empty: layers that are files, mounted",
    "sif": "SIFs that were downloaded",
    "skeleton": "mount points below every image, for ch-run",
    "skeleton-build": "the same for RUN",
    "starts": "what starts read first of lazy images",
    "tmp": "drafts, and the trash",
    "trees": "whole trees, for the driver copy",
    "verified": "what --verify has read of shared stores",
    "version": "the version of this layout",
}
_ENTRY = re.compile(r" {4}\S")
_MAIN = {"images", "layers", "blobs", "cache"}
COLUMN = 230.0
GAP = (WIDTH - 3 * COLUMN - 2 * 12) / 2


def directories() -> list[str]:
    """Return the names in a storage directory, as the docstring of its module has them."""
    table = [line.split() for line in (directory.__doc__ or "").splitlines() if _ENTRY.match(line)]
    names = {
        word.strip("/")
        for words in table
        for word in takewhile(lambda word: word.endswith("/") or word == "version", words)
    }
    if names != WORDS.keys() | _MAIN:
        raise ValueError(f"no words for {sorted(names ^ (WORDS.keys() | _MAIN))}")
    return sorted(names - _MAIN)


def _entries(table: dict[str, str]) -> list[tuple[str, list[str]]]:
    return [(name, wrap(words, COLUMN - 2 * PAD - 10)) for name, words in table.items()]


def _room(drawing: Drawing, box: Box, title: str, table: dict[str, str], fill: str) -> None:
    """Draw a directory with its entries."""
    drawing.box(box, [], fill=fill, title=title)
    y = box.y + PAD - 4 + LINE
    for name, lines in _entries(table):
        y += LINE + 3
        drawing.text(box.x + PAD, y, name, style="mono accent")
        for line in lines:
            y += LINE - 2
            drawing.text(box.x + PAD + 10, y, line)


def _height(table: dict[str, str]) -> float:
    return 2 * PAD + LINE + sum(LINE + 3 + (LINE - 2) * len(lines) for _, lines in _entries(table))


def draw() -> Drawing:
    """Return the picture."""
    drawing = Drawing("What is stored of an image")
    names = directories()
    left, middle, right = 12.0, 12 + COLUMN + GAP, 12 + 2 * (COLUMN + GAP)
    top = 16.0
    image = Box(left, top, COLUMN, _height(IMAGE))
    layer = Box(middle, top, COLUMN, _height(LAYER))
    blob_lines = wrap(
        "manifests, configurations and layers, byte for byte as a registry has them; "
        "so an unchanged image goes back as it came",
        COLUMN - 2 * PAD,
    )
    blob = Box(right, top, COLUMN, height_of(blob_lines, title=True))
    cache_lines = wrap(
        "the result of an instruction: KEY stands for its text, its files and the layer below",
        COLUMN - 2 * PAD,
    )
    cache = Box(right, blob.bottom + 50, COLUMN, height_of(cache_lines, title=True))
    _room(drawing, image, "images/NAME/", IMAGE, "sundog")
    _room(drawing, layer, "layers/ID/", LAYER, "kernel")
    drawing.box(blob, blob_lines, title="blobs/sha256/HEX", fill="plain")
    drawing.box(cache, cache_lines, title="cache/KEY", fill="plain")
    drawing.arrow((left + COLUMN, top + 60), (middle, top + 60))
    drawing.arrow((middle + COLUMN, top + 30), (right, top + 30))
    drawing.arrow((right, cache.y + 20), (middle + COLUMN, cache.y + 20))
    y = max(image.bottom, layer.bottom, cache.bottom) + 26
    drawing.text(12, y, "beside them", style="bold")
    half = (len(names) + 1) // 2
    for number, name in enumerate(names):
        x = 12 if number < half else WIDTH / 2 + 6
        line = y + 20 + LINE * (number % half)
        drawing.text(x, line, name, size=11, style="mono accent")
        drawing.text(x + 106, line, WORDS[name], size=11)
    return drawing
