"""``ch-image history``: the instructions that made an image."""

from __future__ import annotations

from sundog.errors import NotInStorage
from sundog.front.cli.output import human_size, print_json, print_table
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.shared_names import shared_image
from sundog.image.store.description import history
from sundog.image.store.shared_images import shared_history
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import HistoryArguments
    from sundog.front.cli.report import Report

_EMPTY = "-"


def run(arguments: HistoryArguments, report: Report) -> int:
    """Print the history, the oldest entry first."""
    with Store.open(arguments.storage_path()) as store:
        try:
            entries = history(
                store, store.images.get(arguments.reference, chosen_platform(arguments.arch))
            )
        except NotInStorage:
            shared = shared_image(arguments, arguments.reference, report)
            if shared is None:
                raise
            entries = shared_history(shared)
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
