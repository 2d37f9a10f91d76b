"""``ch-image manifest``: the images of one name for several platforms, in podman's words.

A list is a name in storage with an image for each platform.  So what ``build``, ``pull`` and
``load`` put under one name is a list, too, and ``push`` makes an index of it.
"""

from __future__ import annotations

from dataclasses import replace

from sundog.base.record.names import canonical_name
from sundog.base.record.platform_names import OPERATING_SYSTEMS
from sundog.errors import NotInRegistryError, NotInStorage, StoreError, UsageError
from sundog.front.cli.build_facts import chosen_annotations
from sundog.front.cli.image_subcommands import PushArguments
from sundog.front.cli.output import print_json, print_line
from sundog.front.cli.registries import chosen_platform, open_session, pull_options
from sundog.image.oci.media_types import OCI_INDEX, OCI_MANIFEST
from sundog.image.oci.platform import Platform
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sundog.front.cli.image_subcommands import ManifestArguments
    from sundog.front.cli.report import Report
    from sundog.image.store.image_files import Image

_TRANSPORT = "docker://"


def run(arguments: ManifestArguments, report: Report) -> int:
    """Do what the word after ``manifest`` says; return the exit status."""
    return _ACTIONS[arguments.action](arguments, report)


def _create(arguments: ManifestArguments, report: Report) -> int:
    """Begin a list with images."""
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        if store.images.has(arguments.name) and not arguments.amend:
            raise StoreError(
                f"{arguments.name} is in storage",
                f"--amend adds to it; or: ch-image manifest rm {arguments.name}",
            )
        _add_all(store, arguments, report)
    if not arguments.images:
        report.info(f"the list begins with: ch-image manifest add {arguments.name} IMAGE")
    return 0


def _add(arguments: ManifestArguments, report: Report) -> int:
    """Add images to a list, each in place of one for the same platform."""
    if not arguments.images:
        raise UsageError("manifest add: no image", "ch-image manifest add LIST IMAGE…")
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        _add_all(store, arguments, report)
    return 0


def _add_all(store: Store, arguments: ManifestArguments, report: Report) -> None:
    canonical = canonical_name(arguments.name)
    platform = chosen_platform(arguments.arch)
    for text in arguments.images:
        name = text.removeprefix(_TRANSPORT)
        if name == text and store.images.has(name):
            found = store.images.of_name(name)
            if platform is not None:
                found = (store.images.get(name, platform),)
            added: Sequence[Image] = [
                replace(each, reference=canonical, typed=arguments.name) for each in found
            ]
            store.images.put(*added)
        else:
            added = [*_pulled(store, name, arguments, report)]
        for image in added:
            report.info(f"added to {arguments.name}: {text} ({image.platform})")


def _pulled(
    store: Store, name: str, arguments: ManifestArguments, report: Report
) -> Sequence[Image]:
    """Pull an image for all its platforms, or for that of --arch, into the list."""
    from sundog.image.registry.availability import available  # most lists are local
    from sundog.image.registry.pull import pull

    session = open_session(arguments, report)
    options = pull_options(arguments)
    wanted: Sequence[Platform] = [options.platform] if options.platform else []
    if not wanted:
        _, found = available(session, name, report)
        if found is None:
            raise NotInRegistryError(
                f"neither in storage nor in a registry: {name}", "check the name; ch-image login"
            )
        wanted = list(dict.fromkeys(platform for platform, _ in found.platforms))
    return [
        pull(
            store,
            session,
            name,
            arguments.name,
            options=replace(options, platform=platform),
            report=report,
        )
        for platform in wanted
    ]


def _remove(arguments: ManifestArguments, report: Report) -> int:
    """Delete lists; with --arch, the images for one platform in them."""
    platform = chosen_platform(arguments.arch)
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        for name in (arguments.name, *arguments.images):
            found = store.images.of_name(name)
            if platform is not None:
                found = (store.images.get(name, platform),)
            for image in found:
                report.info(f"deleting image: {name} ({image.platform})")
            store.deleted.remember(*found)
            store.images.remove(*found)
    return 0


def _annotate(arguments: ManifestArguments, report: Report) -> int:
    """Change the platform, or the annotations, of one image of a list."""
    if not arguments.images:
        raise UsageError(
            "manifest annotate: which image of the list?",
            "ch-image manifest annotate LIST PLATFORM, or DIGEST, or IMAGE",
        )
    _no_more(arguments, 1)
    annotations = chosen_annotations(arguments.annotation)
    with Store.open(arguments.storage_path(), tell=report.info) as store:
        old = _member(store, arguments)
        platform = _changed(old.platform, arguments)
        others = {each.platform for each in store.images.of_name(arguments.name)}
        if platform in others - {old.platform}:
            raise StoreError(
                f"{arguments.name} has an image for {platform}",
                f"ch-image manifest rm --arch={platform} {arguments.name}",
            )
        config = old.config.replace(
            os=platform.os, architecture=platform.architecture, variant=platform.variant
        )
        # Without the documents that it came with: it has another manifest now.
        annotated = {**old.annotations, **annotations}
        new = replace(old, config=config, annotations=annotated, blobs=())
        store.images.put(new)
        if platform != old.platform:
            store.images.remove(old)
        report.info(f"annotated in {arguments.name}: {new.platform}")
    return 0


def _member(store: Store, arguments: ManifestArguments) -> Image:
    """Return the image of a list that a platform, a digest or another of its names stands for."""
    images, text = store.images.of_name(arguments.name), arguments.images[0]
    name = text.removeprefix(_TRANSPORT)
    same = {each.whole_id for each in store.images.of_name(name)} if store.images.has(name) else ()
    found = [
        image
        for image in images
        if text == str(image.platform) or text in image.blobs or image.whole_id in same
    ]
    if len(found) != 1:
        raise StoreError(
            f"{arguments.name} has {len(found) or 'no'} image{'s' * bool(found)} {text}",
            f"name its platform, one of: {', '.join(str(image.platform) for image in images)}",
        )
    return found[0]


def _changed(platform: Platform, arguments: ManifestArguments) -> Platform:
    """Return a platform with what the command line says of it.  Raises UsageError."""
    if arguments.os and arguments.os.lower() not in OPERATING_SYSTEMS:
        raise UsageError(
            f"--os: no operating system: {arguments.os}", f"one of: {', '.join(OPERATING_SYSTEMS)}"
        )
    if "/" in arguments.variant:
        raise UsageError(f"--variant: not one word: {arguments.variant}", "as in --variant=v8")
    named = chosen_platform(arguments.arch) or platform
    parts = arguments.os or named.os, named.architecture, arguments.variant or named.variant
    return Platform.parse("/".join(filter(None, parts)))


def _inspect(arguments: ManifestArguments, report: Report) -> int:
    """Print a list in the form of an index; for a name that is not in storage, a registry's."""
    _no_more(arguments, 0)
    name = arguments.name.removeprefix(_TRANSPORT)
    try:
        with Store.open(arguments.storage_path(), tell=report.info) as store:
            if name != arguments.name:
                raise NotInStorage(f"not in storage: {arguments.name}")
            images = store.images.of_name(name)
    except NotInStorage:
        from sundog.image.registry.availability import raw_manifest  # most lists are local

        content = raw_manifest(open_session(arguments, report), name)
        print_line(content.decode("utf-8", "replace").rstrip("\n"))
        return 0
    entries = [_entry(image) for image in images]
    print_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return 0


def _entry(image: Image) -> dict[str, Any]:
    """Return an index's entry; only an image that came from outside has a digest already."""
    platform = image.platform
    described = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        described["variant"] = platform.variant
    known = {"digest": image.blobs[-2]} if len(image.blobs) > 1 else {}
    noted = {"annotations": dict(image.annotations)} if image.annotations else {}
    return {"mediaType": OCI_MANIFEST, **known, "platform": described, **noted}


def _push(arguments: ManifestArguments, report: Report) -> int:
    """Push a list, as an index."""
    from sundog.front.cli.image_push import run as push  # for this word only

    _no_more(arguments, 1)
    destination = arguments.images[0].removeprefix(_TRANSPORT) if arguments.images else None
    words = {"reference": arguments.name, "destination": destination, "image": None, "first": None}
    return push(PushArguments(**{**vars(arguments), **words}), report)


def _no_more(arguments: ManifestArguments, count: int) -> None:
    if len(arguments.images) > count:
        raise UsageError(
            f"manifest {arguments.action}: too many words: {arguments.images[count]}",
            "ch-image help manifest",
        )


_ACTIONS: dict[str, Callable[[ManifestArguments, Report], int]] = {
    "create": _create,
    "add": _add,
    "annotate": _annotate,
    "rm": _remove,
    "push": _push,
    "inspect": _inspect,
}
