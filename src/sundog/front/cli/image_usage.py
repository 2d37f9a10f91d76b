"""``ch-image usage``: what needs space in storage, and when it was used last."""

from __future__ import annotations

import os
import sys

from sundog.front.cli.output import human_size, print_json, print_line, print_table
from sundog.image.oci.timestamps import timestamp
from sundog.image.store.space import CACHE_MOUNT, IMPORTED, by_image, measure
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sundog.front.cli.image_subcommands import UsageArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.space import ImageSpace, Item, Space

_HEADER = ("IMAGE", "PLATFORM", "OWN", "SHARED", "LAST USE")
_UNKNOWN = "-"
_TITLES = {
    "images_size": "images together",
    "build_cache": "only in the build cache",
    "cache_mounts": "cache mounts",
    "held": "deleted, but held",
}


def run(arguments: UsageArguments, report: Report) -> int:  # noqa: ARG001 - as all subcommands
    """Print what each image needs, and then the rest; return the exit status."""
    with Store.open(arguments.storage_path()) as store:
        space = measure(store)
        path = os.fsdecode(store.path)
    images = [_described(image) for image in by_image(space)]
    rest = _rest(space)
    if arguments.format == "json":
        print_json({"storage": path, "images": images, **rest, "total": space.total})
        return 0
    rows = [
        (
            image["name"],
            image["platform"],
            human_size(image["own"]),
            human_size(image["shared"]),
            image["last_use"] or _UNKNOWN,
        )
        for image in images
    ]
    if rows:
        # Scripts read tables, too, and know no header.
        print_table([_HEADER, *rows] if sys.stdout.isatty() else rows)
        print_line()
    for name, size in {**rest, "total": space.total}.items():
        print_line(f"{_TITLES.get(name, name) + ':':26}{human_size(size)}")
    return 0


def _described(space: ImageSpace) -> dict[str, Any]:
    entry = space.image.entry
    assert entry is not None
    return {
        "name": entry.typed,
        "reference": entry.reference,
        "platform": entry.platform,
        "own": space.own,
        "shared": space.shared,
        "last_use": timestamp(int(space.image.last_use)) if space.image.last_use else None,
    }


def _rest(space: Space) -> dict[str, int]:
    """Return the bytes of what is not in the table of images, and of all layers in it."""
    named = {layer for image in space.images for layer in image.layers}
    cached = {layer for result in space.results for layer in result.layers} - named - space.kept

    def size(*items: Item) -> int:
        return sum(item.size for item in items)

    return {
        "images_size": sum(space.sizes.get(layer, 0) for layer in named),
        "containers": space.changed
        + sum(space.sizes.get(layer, 0) for layer in space.kept - named),
        "build_cache": sum(space.sizes.get(layer, 0) for layer in cached)
        + size(*(item for item in space.rest if item.kind == IMPORTED)),
        "cache_mounts": size(*(item for item in space.rest if item.kind == CACHE_MOUNT)),
        "downloads": space.downloads,
        "held": space.held,
    }
