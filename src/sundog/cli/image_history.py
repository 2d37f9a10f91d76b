"""``ch-image history``: the instructions that made an image."""

from __future__ import annotations

from sundog.cli.image_arguments import storage_path
from sundog.cli.output import human_size, print_json, print_table
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report
    from sundog.store.images import Image

_EMPTY = "-"


def run(arguments: ImageArguments, report: Report) -> int:  # noqa: ARG001 - as every subcommand
    """Print the history, the oldest entry first."""
    with Store.open(storage_path(arguments)) as store:
        entries = history(store, store.images.get(arguments.reference))
    if arguments.format == "json":
        print_json(entries)
        return 0
    rows = [
        (
            entry["created"] or _EMPTY,
            _EMPTY if entry["size"] is None else human_size(entry["size"]),
            " ".join(entry["created_by"].split()) or entry["comment"] or _EMPTY,
        )
        for entry in entries
    ]
    if rows:
        print_table(rows)
    return 0


def history(store: Store, image: Image) -> list[dict[str, Any]]:
    """Return the entries of an image's history for JSON, the oldest first.

    ``layer`` and ``size`` are None for an entry without a layer.  They are None in all entries if
    the history has more or fewer layers than the image.
    """
    config = image.config
    made = [entry for entry in config.history if not entry.empty_layer]
    layers = iter(image.layers if len(made) == len(image.layers) else ())
    entries = []
    for entry in config.history:
        layer = None if entry.empty_layer else next(layers, None)
        entries.append(
            {
                "created": entry.created,
                "created_by": entry.created_by,
                "comment": entry.comment,
                "author": entry.author,
                "empty_layer": entry.empty_layer,
                "layer": layer,
                "size": None if layer is None else store.layers.size(layer),
            }
        )
    return entries
