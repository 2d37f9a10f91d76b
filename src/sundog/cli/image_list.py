"""``ch-image list``: the images in storage as they were typed, or details of one."""

from __future__ import annotations

from sundog.cli.image_arguments import storage_path
from sundog.cli.output import human_size, print_json, print_line, print_table
from sundog.errors import NotInStorage
from sundog.oci.platform import Platform
from sundog.record.names import canonical_name
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sundog.cli.image_arguments import ImageArguments
    from sundog.cli.report import Report
    from sundog.store.images import Image

_GLOB = frozenset("*?[")
_UNKNOWN = "-"


def run(arguments: ImageArguments, report: Report) -> int:  # noqa: ARG001 - as every subcommand
    """Print the images, those that match patterns, or what is known of the one that is named."""
    globs = arguments.globs
    with Store.open(storage_path(arguments)) as store:
        if len(globs) == 1 and not _GLOB & set(globs[0]) and arguments.format == "text":
            _print_details(store, globs[0])
            return 0
        images = _matching(store, globs) if globs else store.images.list()
        if arguments.format == "json":
            print_json([_described(store, image) for image in images])
        elif arguments.long and images:
            print_table([_row(_described(store, image)) for image in images])
        elif not arguments.long:
            for image in images:
                print_line(image.typed)
    return 0


def _matching(store: Store, globs: Iterable[str]) -> list[Image]:
    found: dict[str, Image] = {}
    for glob in globs:
        images = store.images.matching(glob)
        if not images:
            raise NotInStorage(f"no matching image: {glob}", "ch-image list")
        found.update((image.reference, image) for image in images)
    return sorted(found.values(), key=lambda image: image.typed)


def _described(store: Store, image: Image) -> dict[str, Any]:
    return {
        "name": image.typed,
        "reference": image.reference,
        "id": image.id,
        "created": image.config.created,
        "size": store.images.size(image),
        "layers": len(image.layers),
        "origin": image.origin,
    }


def _row(described: dict[str, Any]) -> tuple[str, ...]:
    layers = described["layers"]
    return (
        described["name"],
        described["id"],
        described["created"] or _UNKNOWN,
        human_size(described["size"]),
        f"{layers} layer{'' if layers == 1 else 's'}",
        described["origin"] or _UNKNOWN,
    )


def _print_details(store: Store, text: str) -> None:
    """Print what is known of an image, or that it is not here; neither is an error."""
    reference = canonical_name(text)
    host = Platform.of_host()
    details = [("details of image", text)]
    try:
        image = store.images.get(text)
    except NotInStorage:
        details += [("in local storage", "no"), ("full reference", reference)]
    else:
        config = image.config
        platform = Platform(config.os, config.architecture, config.variant)
        layers = [f"{layer}  {human_size(store.layers.size(layer))}" for layer in image.layers]
        details += [
            ("in local storage", f"yes ({platform}), created: {config.created or _UNKNOWN}"),
            ("full reference", reference),
            ("ID", image.id),
            ("origin", image.origin or _UNKNOWN),
            ("size", human_size(store.images.size(image))),
            ("layers", "\n".join(layers) or "none"),
        ]
    details.append(("host platform", str(host)))
    width = max(len(name) for name, _ in details) + len(":  ")
    for name, value in details:
        first, *rest = value.split("\n")
        print_line(f"{name + ':':{width}}{first}")
        for line in rest:
            print_line(" " * width + line)
