"""Build an image from a Dockerfile."""

from __future__ import annotations

import os
from dataclasses import asdict, replace

from sundog.errors import UsageError
from sundog.front.api.apart import apart
from sundog.front.api.images import (
    Image,
    described,
    open_session,
    open_store,
    parsed_platform,
    path_of,
)
from sundog.image.builder.chosen_force import chosen_force
from sundog.image.builder.document import read_document
from sundog.image.builder.executor import build as build_image
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.options import (
    CACHE_DISABLED,
    CACHE_ENABLED,
    CACHE_NAMESPACE,
    BuildOptions,
    RunOptions,
)
from sundog.image.dockerfile.parse import SIZE_LIMIT, parse
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from typing import Any

    from sundog.front.api.progress import Progress, ProgressReport
    from sundog.image.builder.bases import Pull
    from sundog.image.oci.platform import Platform
    from sundog.image.store.image_files import Image as StoredImage
    from sundog.image.store.store import Store

    Path = str | PathLike[str]

_TEXT = "the Dockerfile's text"


def build(
    context: Path | None,
    tag: str | Sequence[str],
    *,
    dockerfile: Path | None = None,
    text: str | None = None,
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    force: str | None = None,
    cache: bool = True,
    platform: str | None = None,
    tls_verify: bool = True,
    output: int | None = None,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> Image:
    """Build an image, and return it.  Base images that are not in storage are pulled.

    context     the directory for COPY and ADD; None for none
    tag         the image's name, or its names
    dockerfile  the path of the Dockerfile, by default Dockerfile in ``context``
    text        the Dockerfile itself, in place of a path
    force       the emulation of root: "seccomp", "notify", "auto", "fakeroot" or "none"; also
                "notify,strict"; None is "seccomp", and "notify" from a RUN on that fails for it
    output      a file descriptor for what RUN's commands print; without one, their last lines are
                in the error of a command that fails

    Raises DockerfileError and its kind for what is wrong with the Dockerfile and for instructions
    that fail, RegistryError, OSError for a Dockerfile that can't be read.
    """
    tags = (tag,) if isinstance(tag, str) else tuple(tag)
    if not tags:
        raise UsageError("no name for the image", "give a tag")
    directory = None if context is None else path_of(context)
    path = _dockerfile_path(directory, dockerfile, text)
    place = None if storage is None else path_of(storage)
    epoch_text = os.environ.get(EPOCH_VARIABLE, "")
    args = dict(build_args or {})
    if epoch_text:
        args.setdefault(EPOCH_VARIABLE, epoch_text)
    chosen = None if platform is None else parsed_platform(platform)

    def work(report: ProgressReport) -> dict[str, Any]:
        document = read_document(path, SIZE_LIMIT) if text is None else text.encode()
        captured = os.memfd_create("output", os.MFD_CLOEXEC) if output is None else -1
        stream = captured if output is None else output
        options = BuildOptions(
            tags,
            BuildContext(directory, "" if text is not None else path),
            RunOptions(
                force=chosen_force(
                    "seccomp" if force is None else force, fallback=True, report=report
                ),
                retry=force is None,
                cache_namespace=args.get(CACHE_NAMESPACE, ""),
                stdout=stream,
                stderr=stream,
                captured=captured,
            ),
            args,
            os.environ,
            target,
            labels or {},
            epoch=parse_epoch(args.get(EPOCH_VARIABLE, ""), EPOCH_VARIABLE),
            cache_mode=CACHE_ENABLED if cache else CACHE_DISABLED,
            platform=chosen,
            pull=_puller(report, chosen, tls_verify=tls_verify),
        )
        parsed = parse(document, path=path)
        with open_store(place, report) as store:
            build_image(store, parsed, options, report)
            return asdict(described(store, store.images.get(tags[0])))

    return Image(**apart(work, progress, () if output is None else (output,)))


def _dockerfile_path(context: str | None, path: Path | None, text: str | None) -> str:
    if text is not None:
        if path is not None:
            raise UsageError("a Dockerfile and a text", "give one of them")
        return _TEXT
    if path is not None:
        return path_of(path)
    if context is None:
        raise UsageError("no Dockerfile", "give a context, a dockerfile or a text")
    return os.path.join(context, "Dockerfile")


def _puller(report: ProgressReport, chosen: Platform | None, *, tls_verify: bool) -> Pull:
    """Return the function that pulls base images."""

    def pull_base(store: Store, text: str, platform: Platform | None) -> StoredImage:
        from sundog.image.registry.options import PullOptions  # a build seldom pulls
        from sundog.image.registry.pull import pull

        options = PullOptions(chosen)
        if platform is not None:
            options = replace(options, platform=platform)
        session = open_session(report, tls_verify=tls_verify)
        report.info(f"pulling image:    {text}")
        return pull(store, session, text, text, options=options, report=report)

    return pull_base
