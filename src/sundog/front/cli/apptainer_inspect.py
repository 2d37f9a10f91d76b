"""``sundog apptainer inspect`` and ``run-help``: what an image says about itself.

The image is a SIF, a SquashFS file, a directory, or ``docker://NAME`` in storage, which tells what
a SIF of it would tell.  No program of the image runs, and nothing is mounted.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

from sundog.base.kernel.files import Closing
from sundog.errors import NotInStorage, SundogError, UsageError
from sundog.front.apptainer.image import STORED, stored_name
from sundog.front.apptainer.inspect import INSPECT, RUN_HELP, chosen, text_lines
from sundog.front.cli.apptainer_fetched import resolved
from sundog.front.cli.apptainer_report import ApptainerReport, run_reported
from sundog.front.cli.output import print_line
from sundog.front.options import scan
from sundog.image.convert.sif_file import LayerFiles, sif_additions
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch
from sundog.image.sif.inspection import AddedFiles, attributes, document
from sundog.image.sif.metadata import Metadata
from sundog.image.store.store import Store
from sundog.runtime.container.image_files import DirectoryFiles
from sundog.runtime.container.squashfs_files import opened_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line, Option
    from sundog.runtime.container.image_files import ImageFiles

_NO_HELP = "No help sections were defined for this image"
_LAYOUT = "\t\n"  # the characters of a text that a terminal may obey


def inspect(words: Sequence[str], context: Context, messages: Messages) -> int:
    """Print data of an image; return the exit status."""
    line = _line("inspect", words, INSPECT)
    if line.is_set("help"):
        return _help("inspect")

    def act() -> int:
        data = chosen(line, _data(line, context, messages))
        if line.is_set("json") or line.is_set("all"):
            print_line(document(data).rstrip("\n"), _LAYOUT)
            return 0
        for text in text_lines(line, data):
            print_line(text, _LAYOUT)
        return 0

    return run_reported(act, ApptainerReport(messages))


def run_help(words: Sequence[str], context: Context, messages: Messages) -> int:
    """Print the help of an image, or of an app; return the exit status."""
    line = _line("run-help", words, RUN_HELP)
    if line.is_set("help"):
        return _help("run-help")

    def act() -> int:
        data = _data(line, context, messages)
        app = line.last("app")
        found = data.get("apps", {}).get(app, {}) if app else data
        print_line(found.get("helpfile", "") or _NO_HELP, _LAYOUT)
        return 0

    return run_reported(act, ApptainerReport(messages))


def _line(name: str, words: Sequence[str], options: Sequence[Option]) -> Line:
    line = scan(words, options, command=f"apptainer {name}")
    if len(line.operands) != 1 and not line.is_set("help"):
        raise UsageError(f"{name}: not one image", f"apptainer {name} IMAGE")
    return line


def _data(line: Line, context: Context, messages: Messages) -> dict[str, Any]:
    with image_files(resolved(line.operands[0], context, messages), context) as files:
        return attributes(files)


@contextmanager
def image_files(image: str, context: Context) -> Iterator[ImageFiles]:
    """Give the small files of an image.  Raises SundogError."""
    name = stored_name(image)
    if name is not None:
        with _stored_files(name, context) as files:
            yield files
        return
    try:
        fd = os.open(image, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = f"an image of storage is {STORED}{image}" if "/" not in image else ""
        raise NotInStorage(f"Failed to open image {image}: {error.strerror}", hint) from None
    with Closing(fd):
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            yield DirectoryFiles(fd)
        elif stat.S_ISREG(mode):
            yield opened_files(fd, os.fsencode(image))
        else:
            raise SundogError(f"Failed to open image {image}: neither a file nor a directory")


@contextmanager
def _stored_files(name: str, context: Context) -> Iterator[ImageFiles]:
    """Give the files that a SIF of an image in storage would have."""
    seconds = parse_epoch(os.environ.get(EPOCH_VARIABLE, ""), f"${EPOCH_VARIABLE}")
    with Store.open(context.storage) as store:
        image = store.images.get(name)
        metadata = Metadata.of_config(image.config, "docker", name, seconds)
        with LayerFiles.of(store, image) as files:
            yield AddedFiles(sif_additions(store, image, metadata), files)


def _help(name: str) -> int:
    from sundog.front.cli.sundog_help import print_help

    return print_help(f"apptainer {name}")
