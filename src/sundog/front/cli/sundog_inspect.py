"""``sundog inspect``: everything about containers and images, in podman's words.

Specification: podman-inspect(1), podman-container-inspect(1), podman-image-inspect(1).
"""

from __future__ import annotations

import os

from sundog.errors import NotInStorage, UsageError
from sundog.front.cli.output import print_json, print_line
from sundog.front.cli.sundog_containers import view_of
from sundog.front.cli.sundog_context import run_safely
from sundog.front.cli.sundog_images import find_image, find_shared, image_ids
from sundog.front.cli.sundog_scan import scanned
from sundog.front.podman.container import is_container_name
from sundog.front.podman.containers import own_containers
from sundog.front.podman.image_options import IMAGE_INSPECT, INSPECT
from sundog.front.podman.run_line import is_id, is_path
from sundog.front.podman.template_values import Moment, Structure, document
from sundog.front.podman.templates import Template
from sundog.front.stored import storage_directory
from sundog.image.store.run_force import force_modes
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.front.podman.container import Container
    from sundog.front.podman.containers import Containers
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.image_files import Image

_CONTAINER, _IMAGE, _ALL = "container", "image", "all"


def inspect(words: Sequence[str], context: Context) -> int:
    """Print what is known of containers and images; return the exit status."""
    line = scanned("inspect", words, INSPECT)
    if line is None:
        return 0
    kind = line.last("type") or _ALL
    if kind not in (_CONTAINER, _IMAGE, _ALL):
        raise UsageError(f"--type {kind}: no such type", f"{_CONTAINER}, {_IMAGE} or {_ALL}")
    return _inspected("inspect", line, kind, context)


def inspect_image(words: Sequence[str], context: Context) -> int:
    """Print what is known of images; return the exit status."""
    line = scanned("image inspect", words, IMAGE_INSPECT)
    return 0 if line is None else _inspected("image inspect", line, _IMAGE, context)


def _inspected(name: str, line: Line, kind: str, context: Context) -> int:
    if not line.operands:
        raise UsageError(f"{name}: an operand is missing", f"sundog {name} NAME…")
    form = line.last("format")
    template = None if form in (None, "json") else Template(form or "")

    def action() -> int:
        found = [_described(operand, kind, context) for operand in line.operands]
        if template is None:
            print_json(document(found))
        else:
            for each in found:
                print_line(template.render(each), "\t\n")
        return 0

    return run_safely(action)


def inspect_container(words: Sequence[str], context: Context) -> int:
    """Print what is known of containers; return the exit status."""
    line = scanned("container inspect", words, IMAGE_INSPECT)
    return 0 if line is None else _inspected("container inspect", line, _CONTAINER, context)


def _described(name: str, kind: str, context: Context) -> Structure:
    """Return what is known of a container or an image.  Raises SundogError if there is none."""
    storage = storage_directory(context.storage)
    if kind != _IMAGE:
        containers = own_containers(storage)
        container = containers.find(name) if kind == _CONTAINER or is_findable(name) else None
        if container is not None:
            return container_structure(containers, container)
    if kind != _CONTAINER:
        with Store.open(context.storage) as store:
            image = find_image(store, name)
            if image is not None:
                return image_structure(store, image, store.images.size(image))
            shared = find_shared(store, name)
            if shared is not None:
                return image_structure(store, shared.as_image(), shared.size)
    what = "container or image" if kind == _ALL else kind
    raise NotInStorage(f"{name}: no such {what}", "sundog ps -a; sundog images")


def is_findable(text: str) -> bool:
    """Tell whether a container may be called ``text``; an image may, too."""
    return is_container_name(text) or is_id(text)


def container_structure(containers: Containers, container: Container) -> Structure:
    """Return what podman prints of a container."""
    view = view_of(containers, container)
    image_id, upper, size = "", "", None
    with Store.open(container.storage) as store:
        if container.kept:
            identity = container.identity
            count = containers.kept.count_layers(identity)
            size = store.containers.size(identity, count)
            upper = os.path.join(containers.kept.record(identity).path, "upper")
        if not is_path(container.image):
            image_id = image_ids(store, [container.image]).get(container.image, "")
    return view.structure(image_id=image_id, upper=upper, size=size)


def image_structure(store: Store, image: Image, size: int) -> Structure:
    """Return what podman prints of an image of ``size`` bytes, which a shared store may have."""
    config = image.config
    same = [other for other in store.images.list() if other.whole_id == image.whole_id]
    others = same or [image]
    return Structure(
        Id=image.whole_id,
        Digest=image.blobs[0] if image.blobs else "",
        RepoTags=[other.typed for other in others if "@" not in other.typed],
        RepoDigests=[other.typed for other in others if "@" in other.typed],
        Parent="",
        Comment=config.history[-1].comment if config.history else "",
        Created=Moment.of(config.created),
        Config=config_structure(config),
        Version="",
        Author=config.author,
        Architecture=config.architecture,
        Os=config.os,
        Size=size,
        VirtualSize=size,
        RootFS=Structure(Type="layers", Layers=[diff for diff in config.diff_ids if diff]),
        Labels=dict(config.labels),
        Annotations={},
        User=config.user,
        History=[Structure(entry.to_json()) for entry in config.history],
        NamesHistory=[image.typed],
        Origin=image.origin,
        Force=force_modes(config),
    )


def config_structure(config: ImageConfig) -> Structure:
    """Return the configuration of an image."""
    return Structure(
        User=config.user,
        ExposedPorts={port: Structure() for port in config.exposed_ports},
        Env=list(config.env),
        Entrypoint=_words(config.entrypoint),
        Cmd=_words(config.cmd),
        Volumes={path: Structure() for path in config.volumes},
        WorkingDir=config.working_dir,
        Labels=dict(config.labels),
        StopSignal=config.stop_signal,
        OnBuild=list(config.on_build),
    )


def _words(words: Sequence[str] | None) -> list[str]:
    return list(words or ())
