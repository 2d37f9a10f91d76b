"""``ch-image push``: copy an image, or a directory, to a registry."""

from __future__ import annotations

import os

from sundog.front.cli.output import print_line
from sundog.front.cli.registries import chosen_platform, open_session
from sundog.image.convert.adopt import all_stored_or_shared
from sundog.image.registry.push import destination, push_images, put_first
from sundog.image.store.store import Store
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import PushArguments
    from sundog.front.cli.report import Report


def run(arguments: PushArguments, report: Report) -> int:
    """Push an image for all its platforms, or for one, and print its digest; return the status."""
    platform = chosen_platform(arguments.arch)
    packing = Packing.choose(arguments.compression, os.environ)
    reference = arguments.reference
    session = open_session(arguments, report, authenticated=True)
    remote = destination(session, arguments.destination or reference)
    report.info(f"pushing image:   {reference}")
    report.info(f"destination:     {arguments.destination or reference}")
    with Store.open(arguments.storage_path()) as store:
        if arguments.image is None:
            shared = arguments.shared_stores(report.warning)
            images = all_stored_or_shared(store, reference, shared, report, platform)
        else:
            from sundog.image.transfer.importer import read_image

            report.info(f"image path:      {arguments.image}")
            images = (
                read_image(
                    store, arguments.image, reference, platform=platform, warn=report.warning
                ),
            )
        first = None
        if arguments.first is not None:
            first = put_first(store, images, arguments.first, reference, report=report)
        digest = push_images(
            store, session, images, remote, packing=packing, report=report, first=first
        )
    report.info("done")
    print_line(str(digest))
    return 0
