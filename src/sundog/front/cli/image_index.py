"""``ch-image index``: make the indexes by which gzip layers start before they are here."""

from __future__ import annotations

from sundog.base.record.names import spelled_out
from sundog.errors import UsageError
from sundog.front.cli.registries import open_session, pull_options
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import IndexArguments
    from sundog.front.cli.report import Report

_LAYOUT = "oci:"


def run(arguments: IndexArguments, report: Report) -> int:
    """Make the indexes; return the exit status."""
    report.info(f"indexing image:   {arguments.reference}")
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        is_layout = arguments.reference.startswith(_LAYOUT)
        count = (_layout if is_layout else _image)(store, arguments, report)
    report.info(f"done: indexes of {count} layers")
    return 0


def _image(store: Store, arguments: IndexArguments, report: Report) -> int:
    """Make those of an image of a registry; return how many layers have one."""
    from sundog.image.registry.image_indexing import index_image

    return index_image(
        store,
        open_session(arguments, report, authenticated=arguments.push),
        spelled_out(arguments.reference),
        options=pull_options(arguments),
        pushes=arguments.push,
        report=report,
    )


def _layout(store: Store, arguments: IndexArguments, report: Report) -> int:
    """Make those of an image in a layout; return how many layers have one."""
    from sundog.image.convert.formats import input_place
    from sundog.image.convert.in_place import index_layout

    if arguments.push:
        raise UsageError("--push is for images of a registry", "ch-image index --push HOST/PATH")
    place = input_place(arguments.reference, None)
    platform = pull_options(arguments).wanted
    return index_layout(store, place.text, place.tag, platform=platform, report=report)
