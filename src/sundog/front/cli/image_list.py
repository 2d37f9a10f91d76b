"""``ch-image list``: the images in storage as they were typed, or details of one."""

from __future__ import annotations

import sys
from contextlib import suppress

from sundog.base.record.names import canonical_name
from sundog.errors import EXIT_ERROR, NotInStorage, SundogError, UsageError
from sundog.front.cli.output import human_size, print_json, print_line, print_table
from sundog.front.cli.registries import chosen_platform, open_session
from sundog.front.cli.shared_names import all_shared, shared_beside, shared_image
from sundog.image.oci.platform import Platform
from sundog.image.store.images import is_glob
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sundog.front.cli.image_subcommands import ListArguments
    from sundog.front.cli.report import Report
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.image_files import ImageEntry
    from sundog.image.store.shared_images import SharedDescription

    _Detail = tuple[str, ...]  # the name of the detail, and the lines of its value

_UNKNOWN = "-"
_HEADER = ("NAME", "ID", "CREATED", "SIZE", "LAYERS", "PLATFORM", "ORIGIN")


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
        if not (globs or is_table or chosen_platform(arguments.arch)):
            entries = store.images.entries()
            names = {entry.reference for entry in entries}
            shared = [each for each in all_shared(arguments, report) if each.reference not in names]
            for name in sorted({*(each.typed for each in entries), *(e.typed for e in shared)}):
                print_line(name)
            return 0
        images, shared = _found(store, arguments, report)
        described = [_described(store, image) for image in images]
        described += [_described_shared(image) for image in shared]
        described.sort(key=lambda each: each["name"])
    if arguments.format == "json":
        print_json(described)
    elif arguments.long and described:
        rows = [_row(each, has_shared=bool(shared)) for each in described]
        header = (*_HEADER, "STORE") if shared else _HEADER
        # Scripts read tables, too, and know no header.
        print_table([header, *rows] if sys.stdout.isatty() else rows)
    elif not arguments.long:
        for name in dict.fromkeys(each["name"] for each in described):
            print_line(name)
    return 0


def _found(
    store: Store, arguments: ListArguments, report: Report
) -> tuple[list[ImageEntry], list[SharedDescription]]:
    """Return the images that the globs match, by default all: the user's own, and shared ones."""
    platform = chosen_platform(arguments.arch)
    if not arguments.globs and platform is None:
        return [*store.images.listed()], all_shared(arguments, report)
    matching = store.images.matching(*(arguments.globs or "*"), platform=platform)
    found = {
        (image.reference, image.platform): image for images in matching.values() for image in images
    }
    return [image.entry for image in found.values()], shared_beside(arguments, matching, report)


def _described(store: Store, image: ImageEntry) -> dict[str, Any]:
    here, layout = store.images.absent(image)
    return {
        "name": image.typed,
        "reference": image.reference,
        "id": image.id,
        "created": image.created,
        "size": store.images.size(image),
        "layers": len(image.layers),
        "origin": image.origin,
        "platform": image.platform,
        "store": None,
        "here": here,
        "in_place": layout,
    }


def _described_shared(image: SharedDescription) -> dict[str, Any]:
    return {
        "name": image.typed,
        "reference": image.reference,
        "id": image.id,
        "created": image.config.created,
        "size": image.size,
        "layers": len(image.layers),
        "origin": image.origin,
        "platform": str(_platform(image.config)),
        "store": image.store,
        "here": None,
        "in_place": None,
    }


def _platform(config: ImageConfig) -> Platform:
    return Platform(config.os, config.architecture, config.variant)


def _row(described: dict[str, Any], *, has_shared: bool) -> tuple[str, ...]:
    """Return a row of the table; with the store if any image is shared."""
    layers, here = described["layers"], _here(described["here"], described["in_place"])
    return (
        described["name"],
        described["id"],
        described["created"] or _UNKNOWN,
        human_size(described["size"]),
        f"{layers} layer{'' if layers == 1 else 's'}{here}",
        described["platform"],
        described["origin"] or _UNKNOWN,
        *((described["store"] or _UNKNOWN,) if has_shared else ()),
    )


def _here(here: int | None, layout: str | None) -> str:
    """Return what a table says of an image that is not all here."""
    if layout is not None:
        return ", in place"
    return "" if here is None else f", {here} % here"


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
        image = store.images.get(text, chosen_platform(arguments.arch))
    shared = None if image is not None else shared_image(arguments, text, report)
    if image is None:
        details += [("in local storage", "no"), ("full reference", reference)]
    else:
        config = image.config
        created = config.created or _UNKNOWN
        percent, layout = store.images.absent(image)
        here = _here(percent, layout)
        layers = [f"{layer}  {human_size(store.layers.size(layer))}" for layer in image.layers]
        details += [
            (
                "in local storage",
                f"yes ({image.platform}), created: {created}",
            ),
            ("full reference", reference),
            ("ID", image.id),
            ("origin", image.origin or _UNKNOWN),
            ("size", human_size(store.images.size(image)) + here),
            *([("in place", layout)] if layout is not None else []),
            ("layers", *(layers or ["none"])),
        ]
        others = [each.platform for each in store.images.of_name(text)]
        if len(others) > 1:
            details.append(("platforms", *map(str, others)))
    if shared is not None:
        details += [
            ("in shared store", f"{shared.store} ({_platform(shared.config)})"),
            ("ID", shared.id),
            ("origin", shared.origin or _UNKNOWN),
            ("size", human_size(shared.size)),
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
            is_known = image is not None or shared is not None
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
