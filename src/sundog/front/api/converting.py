"""Convert an image from one format to another."""

from __future__ import annotations

import os

from sundog.front.api.apart import apart
from sundog.front.api.images import path_of
from sundog.image.convert.conversion import convert
from sundog.image.convert.formats import input_place, output_place
from sundog.image.convert.options import Options
from sundog.image.registry.leaving import have_images
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from sundog.front.api.progress import Progress

    Path = str | PathLike[str]


def convert_image(
    source: Path,
    target: Path,
    *,
    in_format: str | None = None,
    out_format: str | None = None,
    xattrs: bool = True,
    overwrite: bool = True,
    temporary: Path | None = None,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Convert ``source`` to ``target``, as ``ch-convert`` does.

    Each is a name in storage, a path, or PREFIX:PATH[:TAG]; ch-convert(1) lists the formats.
    Raises UsageError for what does not fit together, and SundogError; then a target that was there
    is unchanged.
    """
    options = Options(
        None if storage is None else os.path.abspath(path_of(storage)),
        None if temporary is None else os.path.abspath(path_of(temporary)),
        keeps_xattrs=xattrs,
        clobbers=overwrite,
        is_dry=False,
        packing=Packing.choose("gzip", os.environ),
        complete=have_images,
    )
    input_ = input_place(path_of(source), in_format)
    output = output_place(path_of(target), out_format)
    apart(lambda report: convert(input_, output, options, report), progress)
