"""``ch-image inspect``: print everything about images, as JSON."""

from __future__ import annotations

import sys

from sundog.errors import UsageError
from sundog.front.cli.output import print_json
from sundog.front.cli.registries import chosen_platform
from sundog.front.cli.shared_names import shared_beside
from sundog.image.store.description import describe
from sundog.image.store.images import is_glob
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import InspectArguments
    from sundog.front.cli.report import Report
    from sundog.image.oci.platform import Platform
    from sundog.image.store.image_files import Image


def run(arguments: InspectArguments, report: Report) -> int:
    """Print a list with one object for each image that matches a name or pattern."""
    if arguments.remote:
        return _print_remote(arguments, report)
    found: dict[tuple[str, Platform], Image] = {}
    with Store.open(arguments.storage_path()) as store:
        store.hold()
        matching = store.images.matching(*arguments.globs, platform=chosen_platform(arguments.arch))
        shared = shared_beside(arguments, matching, report)
        for images in matching.values():
            found.update(((image.reference, image.platform), image) for image in images)
        described = [{**describe(store, image), "store": None} for image in found.values()]
    print_json([*described, *({**image.described, "store": image.store} for image in shared)])
    return 0


def _print_remote(arguments: InspectArguments, report: Report) -> int:
    """Print the document that a registry has, byte for byte."""
    if len(arguments.globs) != 1 or is_glob(arguments.globs[0]):
        raise UsageError("--remote: not the name of one image", "ch-image inspect --remote IMAGE")
    from sundog.front.cli.registries import open_session  # few lines ask a registry
    from sundog.image.registry.availability import raw_manifest

    content = raw_manifest(open_session(arguments, report), arguments.globs[0])
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    return 0
