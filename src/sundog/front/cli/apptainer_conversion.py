"""The SIF, or the sandbox, that ``sundog apptainer build`` and ``pull`` make of an image."""

from __future__ import annotations

import os

from sundog.errors import UsageError
from sundog.image.convert.conversion import convert
from sundog.image.convert.formats import SANDBOX, SIF, Place
from sundog.image.convert.options import Options
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.apptainer_report import ApptainerReport
    from sundog.front.options import Line


def target_place(target: str, line: Line) -> Place:
    """Return the place of TARGET: a SIF, or a directory with --sandbox or --update."""
    is_sandbox = line.is_set("sandbox") or line.is_set("update")
    return Place(SANDBOX if is_sandbox else SIF, target)


def convert_image(
    image: Place, target: str, line: Line, storage: str | None, report: ApptainerReport
) -> None:
    """Make TARGET of an image, beside it first; what is there is replaced.

    Raises SundogError; then nothing is at TARGET that was not there before.
    """
    options = Options(
        storage,
        _temporary(line.last("tmpdir")),
        keeps_xattrs=True,
        clobbers=True,
        is_dry=False,
        packing=Packing.choose("gzip", os.environ),
    )
    convert(image, target_place(target, line), options, report)


def _temporary(directory: str | None) -> str | None:
    """Return the directory for temporary files, also where none is needed.  Raises UsageError."""
    if not directory:
        return None
    if not os.path.isdir(directory):
        raise UsageError(f"--tmpdir {directory}: not a directory", "name one that is there")
    return os.path.abspath(directory)
