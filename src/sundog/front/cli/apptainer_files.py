"""``sundog apptainer build`` and ``pull``: files and directories that are made of images.

The new file or directory is made beside TARGET, and gets its name when it is complete.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace

from sundog.base.record.magic import IMAGE_HEAD, SIF_IMAGE, image_kind
from sundog.errors import NotInStorage, SundogError, UsageError
from sundog.front.apptainer.build import BUILD
from sundog.front.apptainer.image import ADDRESSES, registry_hint, stored_name
from sundog.front.apptainer.line import scan_line
from sundog.front.apptainer.messages import WARNING
from sundog.front.apptainer.pull import PULL, default_name
from sundog.front.cli.apptainer_conversion import convert_image
from sundog.front.cli.apptainer_fetched import fetch_file
from sundog.front.cli.apptainer_pull import chosen_platform, pulled
from sundog.front.cli.apptainer_report import ApptainerReport, run_reported
from sundog.image.convert.formats import (
    CH_IMAGE,
    DIRECTORY,
    SIF,
    SQUASH,
    Place,
    input_place,
)
from sundog.image.convert.outputs import output_file
from sundog.image.sif.reader import read_sif
from sundog.image.sif.writer import SIF_MODE
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line

_IMAGES = (DIRECTORY, SIF, SQUASH)
_PREFIXES = ("docker-archive:", "oci-archive:", "oci:", "docker-daemon:")


def build(words: Sequence[str], context: Context, messages: Messages) -> int:
    """Make TARGET of SOURCE; return the exit status."""
    line = scan_line("build", words, BUILD, os.environ)
    if line.is_set("help"):
        return _help("build")
    if len(line.operands) != 2:
        raise UsageError("build: not TARGET SOURCE", "apptainer build TARGET SOURCE")
    target, source = line.operands
    if _is_definition(source):
        from sundog.front.cli.apptainer_build import build_definition_file

        return _run(
            line, messages, lambda report: build_definition_file(line, context.storage, report)
        )
    if os.path.lexists(target) and not line.is_set("force"):
        raise SundogError(
            f"build target '{os.path.basename(target)}' already exists."
            " Use --force if you want to overwrite it"
        )

    def act(report: ApptainerReport) -> int:
        with _place(source, context, line, report, is_fresh=False) as place:
            convert_image(place, target, line, context.storage, report)
        report.info(f"Build complete: {target}")
        return 0

    return _run(line, messages, act)


def _is_definition(source: str) -> bool:
    """Tell whether SOURCE is a file, and neither an image nor an archive."""
    if source.startswith(_PREFIXES) or "://" in source or not os.path.isfile(source):
        return False
    return input_place(os.path.abspath(source), None).format == DIRECTORY


def pull(words: Sequence[str], context: Context, messages: Messages) -> int:
    """Make a file of an image of a registry, or of another source; return the exit status."""
    line = scan_line("pull", words, PULL, os.environ)
    if line.is_set("help"):
        return _help("pull")
    if len(line.operands) not in (1, 2):
        raise UsageError("pull: not [TARGET] SOURCE", "apptainer pull TARGET docker://NAME")
    source = line.operands[-1]
    usual = default_name(source)
    target = line.last("name") or (line.operands[0] if len(line.operands) == 2 else usual)
    if directory := line.last("dir"):
        target = f"{directory}/{target}"
    if os.path.lexists(target) and not line.is_set("force"):
        raise SundogError(f'Image file already exists: "{target}" - will not overwrite', "--force")

    def act(report: ApptainerReport) -> int:
        with _place(source, context, line, report, is_fresh=True) as place:
            if source.startswith(ADDRESSES) and not line.is_set("sandbox"):
                copy_file(place.text, target)
            else:
                convert_image(place, target, line, context.storage, report)
        return 0

    return _run(line, messages, act)


def _run(line: Line, messages: Messages, act: Callable[[ApptainerReport], int]) -> int:
    for text in line.warnings:
        messages.say(WARNING, text)
    report = ApptainerReport(messages)
    return run_reported(lambda: act(report), report)


@contextmanager
def _place(
    source: str, context: Context, line: Line, report: ApptainerReport, *, is_fresh: bool
) -> Iterator[Place]:
    """Give the place of SOURCE; an image of a registry is in storage then.

    If it ``is_fresh``, the registry is asked, too, if storage has the image already.
    """
    platform, name = chosen_platform(line), stored_name(source)
    if platform is not None and name is None:
        report.warning(f"--arch has no effect: {source} is taken as it is")
    if source.startswith(_PREFIXES):
        yield input_place(source.replace("://", ":", 1), None)
        return
    if source.startswith(ADDRESSES):
        with Store.open(context.storage, tell=report.info) as store:
            found = input_place(fetch_file(store, source, line, report), None)
            yield replace(found, known_as=source)
        return
    if name is None:
        place = input_place(source if source.startswith("/") else f"./{source}", None)
        if not os.path.lexists(source):
            fault = f"unable to build from {source}: no such file or directory"
            raise NotInStorage(fault, registry_hint(source))
        if place.format == SIF:
            _warn_of_signature(source, report)
        if place.format not in _IMAGES:
            raise SundogError(
                f"can't build from {source}: neither an image nor a definition file",
                "docker-archive:FILE and oci-archive:FILE are archives of images",
            )
        yield place
        return
    with Store.open(context.storage, tell=report.info) as store:
        is_there = not is_fresh and platform is None and bool(store.images.matching(name)[name])
        if is_there and not line.is_set("disable-cache"):
            yield Place(CH_IMAGE, name)
            return
        with pulled(store, name, platform, line, report) as kept:
            yield Place(CH_IMAGE, kept, known_as=name)


def _warn_of_signature(path: str, report: ApptainerReport) -> None:
    with open(path, "rb") as file:
        is_sif = image_kind(os.pread(file.fileno(), IMAGE_HEAD, 0)) == SIF_IMAGE
        if is_sif and read_sif(file.fileno(), os.fsencode(path)).is_signed:
            report.warning(f"the signatures of {path} are not checked, and are left out")


def copy_file(source: str, target: str) -> None:
    """Copy a SIF as it is, with its signatures."""
    with output_file(target) as draft, open(source, "rb") as old, open(draft, "xb") as new:
        shutil.copyfileobj(old, new)
        os.fchmod(new.fileno(), SIF_MODE)


def _help(name: str) -> int:
    from sundog.front.cli.sundog_help import print_help

    return print_help(f"apptainer {name}")
