"""``ch-image oci-bundle``: make a bundle that ``ch-run-oci`` runs, without a copy of the image."""

from __future__ import annotations

import os

from sundog.front.cli.registries import chosen_platform
from sundog.image.convert.bundle import write_bundle
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import BundleArguments
    from sundog.front.cli.report import Report


def run(arguments: BundleArguments, report: Report) -> int:
    """Make the directory of the bundle."""
    with Store.open(arguments.storage_path()) as store:
        image = store.images.get(arguments.reference, chosen_platform(arguments.arch))
        write_bundle(image, os.fsdecode(store.path), os.fsencode(arguments.path))
    report.info(f"made bundle {arguments.path}: {image.typed}")
    return 0
