"""``sundog container prune``, ``image prune``, ``system prune`` and ``builder prune``.

Specification: podman-container-prune(1), podman-image-prune(1), podman-system-prune(1).
"""

from __future__ import annotations

import sys

from sundog.base.record.names import canonical_name
from sundog.errors import UsageError
from sundog.front.cli.container_filters import container_filters
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_containers import remove, view_of
from sundog.front.cli.sundog_context import run_safely
from sundog.front.cli.sundog_images import filters
from sundog.front.cli.sundog_scan import scanned_alone
from sundog.front.podman.container_options import CONTAINER_PRUNE
from sundog.front.podman.containers import own_containers
from sundog.front.podman.image_options import BUILDER_PRUNE, IMAGE_PRUNE, SYSTEM_PRUNE
from sundog.front.podman.run_line import is_path
from sundog.front.podman.times import decimal_size
from sundog.front.stored import storage_directory
from sundog.image.store.retention import EVERYTHING, clear_out
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.front.podman.container import Container
    from sundog.image.store.image_files import Image
    from sundog.image.store.space import Item

_COMMON_FILTERS = ("until", "label")
_SURE = "Are you sure you want to continue? [y/N] "
_CONTAINERS = "WARNING! This will remove all non running containers."
_IMAGES = "WARNING! This command removes all dangling images."
_UNUSED_IMAGES = (
    "WARNING! This command removes all images without at least one container associated with them."
)
_SYSTEM = """\
WARNING! This command removes:
\t- all stopped containers
\t- all networks not used by at least one container
\t- all dangling images
\t- all dangling build cache
"""
_WHOLE_SYSTEM = """\
WARNING! This command removes:
\t- all stopped containers
\t- all networks not used by at least one container
\t- all images without at least one container associated with them
\t- all build cache
"""


def prune_containers(words: Sequence[str], context: Context) -> int:
    """Remove the containers that do not run, and print their IDs; return the exit status."""
    line = scanned_alone("container prune", words, CONTAINER_PRUNE)
    if line is None:
        return 0

    def action() -> int:
        if _is_sure(line, _CONTAINERS):
            for container in _remove_containers(line, context):
                print_line(container.identity)
        return 0

    return run_safely(action)


def prune_images(words: Sequence[str], context: Context) -> int:
    """Remove what no image needs, with --all the images without a container, too."""
    line = scanned_alone("image prune", words, IMAGE_PRUNE)
    if line is None:
        return 0

    def action() -> int:
        if _is_sure(line, _UNUSED_IMAGES if line.is_set("all") else _IMAGES):
            for image in _remove_images(line, context):
                print_line(image)
        return 0

    return run_safely(action)


def prune_system(words: Sequence[str], context: Context) -> int:
    """Remove stopped containers, and what ``prune_images`` removes; return the exit status."""
    line = scanned_alone("system prune", words, SYSTEM_PRUNE)
    if line is None:
        return 0
    for text in line.all("filter"):  # each of the others is about containers or images alone
        if text.partition("=")[0].removesuffix("!") not in _COMMON_FILTERS:
            raise UsageError(
                f"--filter {text}: no such filter",
                f"sundog system prune has {', '.join(_COMMON_FILTERS)}",
            )

    def action() -> int:
        if not _is_sure(line, _WHOLE_SYSTEM if line.is_set("all") else _SYSTEM):
            return 0
        before = _used(context)
        containers = [container.identity for container in _remove_containers(line, context)]
        images = _remove_images(line, context)
        for title, found in (("Deleted Containers", containers), ("Deleted Images", images)):
            if found:
                print_line(title)
                for identity in found:
                    print_line(identity)
        reclaimed = max(before - _used(context), 0)
        print_line(f"Total reclaimed space: {decimal_size(reclaimed, 4)}")
        return 0

    return run_safely(action)


def prune_builder(words: Sequence[str], context: Context) -> int:
    """Remove what no image needs; return the exit status."""
    line = scanned_alone("builder prune", words, BUILDER_PRUNE)
    if line is None:
        return 0

    def action() -> int:
        before = _used(context)
        with Store.open(context.storage) as store:
            clear_out(store, EVERYTHING)
        print_line(f"Total:\t{decimal_size(max(before - _used(context), 0), 4)}")
        return 0

    return run_safely(action)


def _is_sure(line: Line, warning: str) -> bool:
    if line.is_set("force"):
        return True
    for text in warning.split("\n"):
        print_line(text, "\t")
    sys.stdout.write(_SURE)
    sys.stdout.flush()
    return sys.stdin is not None and sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove_containers(line: Line, context: Context) -> list[Container]:
    """Remove the containers that do not run and pass the filters; return them."""
    containers = own_containers(storage_directory(context.storage))
    views = [view_of(containers, each) for each in containers.list()]
    passed = container_filters(line.all("filter"), views, "container prune")
    found = [view.container for view in views if passed.pass_on(view)]
    found = [container for container in found if not container.is_running]
    remove(containers, found, context)
    return found


def _remove_images(line: Line, context: Context) -> list[str]:
    """Remove what no image needs; with --all the images without a container; return their IDs.

    What no image needs has no name, no time and no labels, so filters alone remove none of it.
    """
    texts = line.all("filter")
    with Store.open(context.storage) as store:
        every = {(each.reference, str(each.platform)): each for each in store.images.list()}
        passed = filters(texts, list(every.values()), "image prune")
        used = _used_images(context)

        def image_of(item: Item) -> Image | None:
            entry = item.entry
            return None if entry is None else every.get((entry.reference, entry.platform))

        def may_go(item: Item) -> bool:
            image = image_of(item)
            is_used = image is None or image.reference in used
            return line.is_set("all") and not is_used and passed.pass_on(image)

        if texts and not line.is_set("all"):
            return []
        leaving = clear_out(store, EVERYTHING, may_go).leaving
    removed = [image for image in (image_of(each.item) for each in leaving) if image is not None]
    return list(dict.fromkeys(image.whole_id for image in removed))


def _used_images(context: Context) -> set[str]:
    """Return the names of the images that containers use."""
    containers = own_containers(storage_directory(context.storage)).list()
    return {canonical_name(each.image) for each in containers if not is_path(each.image)}


def _used(context: Context) -> int:
    """Return the bytes in all layers, and in what the last runs of containers have changed."""
    with Store.open(context.storage) as store:
        layers = sum(store.layers.size(layer) for layer in store.layers.sound())
        return layers + sum(map(store.containers.last_size, store.containers.list()))
