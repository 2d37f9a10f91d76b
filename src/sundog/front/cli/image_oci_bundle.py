"""``ch-image oci-bundle``: make a bundle that ``ch-run-oci`` runs, without a copy of the image."""

from __future__ import annotations

import os

from sundog.errors import NotInStorage
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.shared_names import shared_image
from sundog.image.convert.bundle import write_bundle
from sundog.image.oci.bundle import STORAGE_ANNOTATION, STORE_ANNOTATION
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import BundleArguments
    from sundog.front.cli.report import Report


def run(arguments: BundleArguments, report: Report) -> int:
    """Make the directory of the bundle."""
    path = os.fsencode(arguments.path)
    try:
        with Store.open(arguments.storage_path()) as store:
            image = store.images.get(arguments.reference, chosen_platform(arguments.arch))
            place = {STORAGE_ANNOTATION: os.fsdecode(store.path)}
            write_bundle(image.config, image.reference, place, path)
    except NotInStorage:
        shared = shared_image(arguments, arguments.reference, report)
        if shared is None:
            raise
        place = {STORE_ANNOTATION: shared.store}
        write_bundle(shared.config, shared.reference, place, path)
    report.info(f"made bundle {arguments.path}: {arguments.reference}")
    return 0
