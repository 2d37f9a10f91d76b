"""``ch-image list``: the images in storage as they were typed, or details of one."""

from __future__ import annotations

import sys
from contextlib import suppress

from sundog.base.record.names import canonical_name
from sundog.errors import EXIT_ERROR, NotInStorage, SundogError, UsageError
from sundog.front.cli.output import human_size, print_json, print_line, print_table
from sundog.front.cli.registries import open_session
from sundog.image.oci.platform import Platform
from sundog.image.store.images import is_glob
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sundog.front.cli.image_subcommands import ListArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.image_files import Image

    _Detail = tuple[str, ...]  # the name of the detail, and the lines of its value

_UNKNOWN = "-"
_HEADER = ("NAME", "ID", "CREATED", "SIZE", "LAYERS", "ORIGIN")


def run(arguments: ListArguments, report: Report) -> int:
    """Print all images, those that match patterns, or the details of one."""
    globs = arguments.globs
    is_table = arguments.long or arguments.format != "text"
    is_one = len(globs) == 1 and not is_glob(globs[0]) and not is_table
    if arguments.remote and not is_one:
        raise UsageError("--remote: not the name of one image", "ch-image list --remote IMAGE")
    if arguments.undeletable and (globs or is_table):
        raise UsageError("--undeletable: it lists the names of all", "ch-image list --undeletable")
    with Store.open(arguments.storage_path()) as store:
        if arguments.undeletable:
            for image in store.deleted.list():
                print_line(image.typed)
            return 0
        if is_one:
            return _print_details(store, globs[0], arguments, report)
        if not (globs or is_table):
            for entry in store.images.entries():
                print_line(entry.typed)
            return 0
        images = _matching(store, globs) if globs else store.images.list()
        if arguments.format == "json":
            print_json([_described(store, image) for image in images])
        elif arguments.long and images:
            rows = [_row(_described(store, image)) for image in images]
            # Scripts read tables, too, and know no header.
            print_table([_HEADER, *rows] if sys.stdout.isatty() else rows)
        elif not arguments.long:
            for image in images:
                print_line(image.typed)
    return 0


def _matching(store: Store, globs: Iterable[str]) -> list[Image]:
    found: dict[str, Image] = {}
    for glob, images in store.images.matching(*globs).items():
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
        "platform": str(_platform(image)),
    }


def _platform(image: Image) -> Platform:
    return Platform(image.config.os, image.config.architecture, image.config.variant)


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


def _print_details(store: Store, text: str, arguments: ListArguments, report: Report) -> int:
    """Print the details of an image here and, with --remote, in its registry; return the status.

    It is no error if the image is in neither place.  It is one if the image is not in storage and
    the registry can't be asked.
    """
    reference = canonical_name(text)
    host = Platform.of_host()
    details: list[_Detail] = [("details of image", text)]
    image = None
    with suppress(NotInStorage):
        image = store.images.get(text)
    if image is None:
        details += [("in local storage", "no"), ("full reference", reference)]
    else:
        config = image.config
        created = config.created or _UNKNOWN
        layers = [f"{layer}  {human_size(store.layers.size(layer))}" for layer in image.layers]
        details += [
            (
                "in local storage",
                f"yes ({_platform(image)}), created: {created}",
            ),
            ("full reference", reference),
            ("ID", image.id),
            ("origin", image.origin or _UNKNOWN),
            ("size", human_size(store.images.size(image))),
            ("layers", *(layers or ["none"])),
        ]
    is_known = True
    if not arguments.remote:
        details.append(("available remotely", "not asked (--remote asks the registry)"))
    else:
        try:
            details += _remote_details(text, arguments, report)
        except SundogError as error:
            report.warning(error.message)
            details.append(("available remotely", "unknown"))
            is_known = image is not None
    details.append(("host platform", str(host)))
    width = max(len(name) for name, *_ in details) + len(":  ")
    for name, first, *rest in details:
        print_line(f"{name + ':':{width}}{first}")
        for line in rest:
            print_line(" " * width + line)
    return 0 if is_known else EXIT_ERROR


def _remote_details(text: str, arguments: ListArguments, report: Report) -> list[_Detail]:
    """Return what the registry has; raise RegistryError when it can't be asked."""
    from sundog.image.registry.availability import available  # most lists are local

    session = open_session(arguments, report, attempts=1)
    reference, found = available(session, text, report)
    details: list[_Detail] = [("full remote ref", str(reference))]
    if found is None:
        return [*details, ("available remotely", "no (or you are not authorized)")]
    platforms = [f"{platform}  {digest.encoded[:11]}" for platform, digest in found.platforms]
    return [
        *details,
        ("available remotely", "yes"),
        ("remote arch-aware", "yes" if found.is_index else "no"),
        ("archs available", *(platforms or ["none"])),
    ]
