"""``ch-convert``'s command line: options may stand anywhere."""

from __future__ import annotations

import argparse
import os

from sundog.errors import UsageError
from sundog.front.cli.common_arguments import image_store_option
from sundog.front.cli.option_rows import add_rows, counted, flag, operand, option
from sundog.front.cli.parser import SmallParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = "Convert an image from one format to another."
_EPILOGUE = """\
formats:
  ch-image        the name of an image in the storage directory
  dir             a directory with a root file system
  tar             a tar of a root file system; compressed as its name says; "-" is a stream
  squash          a SquashFS file, which ch-run runs
  oci-archive     a tar of an OCI layout: oci-archive:PATH[:TAG]
  oci-dir         the directory of an OCI layout: oci:PATH[:TAG]
  docker-archive  what docker save writes: docker-archive:PATH[:TAG]
  docker, podman  an image of Docker or Podman, by their own save and load
  enroot          a SquashFS file for Enroot and pyxis, which ch-run runs, too (only OUT)
  sif             a file of Singularity or Apptainer, with SquashFS in it

Without -i and -o, names tell the formats, and the contents of an input that exists;
see ch-convert(1).
"""


class ConvertArguments(argparse.Namespace):
    """The command line."""

    help: bool
    version: bool
    source: str | None = operand("IN", "the image to be converted", nargs="?")
    target: str | None = operand("OUT", "the image to be made", nargs="?")
    arch: str = option(
        "-a --arch",
        "ARCH",
        "of several images in IN, that for ARCH (default: host)",
        default="host",
    )
    image_stores: list[str] = image_store_option()
    in_fmt: str | None = option("-i --in-fmt", "FORMAT", "the format of IN")
    out_fmt: str | None = option("-o --out-fmt", "FORMAT", "the format of OUT")
    dry_run: bool = flag("-n --dry-run", "check and say what would be done")
    no_clobber: bool = flag("--no-clobber", "fail if OUT exists")
    no_limits: bool = flag("--no-limits", "take an IN however much it unpacks to")
    xattrs: bool = flag("--xattrs", "keep extended attributes (the default)")
    no_xattrs: bool = flag("--no-xattrs", "drop extended attributes, capabilities too")
    storage: str | None = option("-s --storage", "DIR", "the storage directory of ch-image")
    tmp: str | None = option(
        "--tmp", "DIR", "where temporary files go (default: the storage directory)"
    )
    quiet: int = counted("-q --quiet", "print warnings and errors only")
    verbose: int = counted("-v --verbose", "print more")


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-convert", " IN OUT", _DESCRIPTION, _EPILOGUE)
    add_rows(ConvertArguments, parser.add_argument)
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> ConvertArguments:
    """Parse the command line; raise UsageError."""
    # argparse of Python 3.11 looks for options after "--", too.
    end = argv.index("--") if "--" in argv else len(argv)
    words = [_without_equals(word) for word in argv[:end]]
    arguments = ConvertArguments(**vars(make_parser().parse_intermixed_args(words)))
    found = [text for text in (arguments.source, arguments.target) if text is not None]
    found += argv[end + 1 :]
    if len(found) > 2:
        raise UsageError(f"unrecognized arguments: {' '.join(found[2:])}", "ch-convert --help")
    arguments.source, arguments.target, *_ = [*found, None, None]
    if arguments.help or arguments.version:
        return arguments
    if arguments.xattrs and arguments.no_xattrs:
        raise UsageError('"--xattrs" incompatible with "--no-xattrs"')
    if arguments.storage == "":
        raise UsageError("--storage: DIR is empty", "write ./ for the working directory")
    if arguments.tmp is not None and not os.path.isabs(arguments.tmp):
        raise UsageError(f"temp dir must be absolute: {arguments.tmp}")
    return arguments


def _without_equals(word: str) -> str:
    """Return ``-iFORMAT`` for ``-i=FORMAT``."""
    if word.startswith(("-a=", "-i=", "-o=", "-s=")):
        return word[:2] + word[3:]
    return word
