"""``ch-convert``'s command line: options may stand anywhere."""

from __future__ import annotations

import argparse
import os

from sundog.errors import UsageError
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
  sif             the SquashFS in a file of Singularity or Apptainer (only IN)

Without -i and -o, names tell the formats, and the contents of an input that exists;
see ch-convert(1).
"""


class ConvertArguments(argparse.Namespace):
    """The options as attributes."""

    help: bool = False
    version: bool = False
    source: str | None = None
    target: str | None = None
    in_fmt: str | None = None
    out_fmt: str | None = None
    dry_run: bool = False
    no_clobber: bool = False
    no_limits: bool = False
    xattrs: bool = False
    no_xattrs: bool = False
    storage: str | None = None
    tmp: str | None = None
    quiet: int = 0
    verbose: int = 0


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-convert", " IN OUT", _DESCRIPTION, _EPILOGUE)
    add = parser.add_argument
    add("source", metavar="IN", nargs="?", help="the image to be converted")
    add("target", metavar="OUT", nargs="?", help="the image to be made")
    add("-i", "--in-fmt", metavar="FORMAT", help="the format of IN")
    add("-o", "--out-fmt", metavar="FORMAT", help="the format of OUT")
    add("-n", "--dry-run", action="store_true", help="check and say what would be done")
    add("--no-clobber", action="store_true", help="fail if OUT exists")
    add("--no-limits", action="store_true", help="take an IN however much it unpacks to")
    add("--xattrs", action="store_true", help="keep extended attributes (the default)")
    add("--no-xattrs", action="store_true", help="drop extended attributes, capabilities too")
    add("-s", "--storage", metavar="DIR", help="the storage directory of ch-image")
    add("--tmp", metavar="DIR", help="where temporary files go (default: the storage directory)")
    add("-q", "--quiet", action="count", default=0, help="print warnings and errors only")
    add("-v", "--verbose", action="count", default=0, help="print more")
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> ConvertArguments:
    """Parse the command line; raise UsageError."""
    # argparse of Python 3.11 looks for options after "--", too.
    end = argv.index("--") if "--" in argv else len(argv)
    words = [_without_equals(word) for word in argv[:end]]
    arguments = make_parser().parse_intermixed_args(words, ConvertArguments())
    found = [text for text in (arguments.source, arguments.target) if text is not None]
    found += argv[end + 1 :]
    if len(found) > 2:
        raise UsageError(f"unrecognized arguments: {' '.join(found[2:])}", "ch-convert --help")
    arguments.source, arguments.target, *_ = [*found, None, None]
    if arguments.help or arguments.version:
        return arguments
    if arguments.xattrs and arguments.no_xattrs:
        raise UsageError('"--xattrs" incompatible with "--no-xattrs"')
    if arguments.tmp is not None and not os.path.isabs(arguments.tmp):
        raise UsageError(f"temp dir must be absolute: {arguments.tmp}")
    return arguments


def _without_equals(word: str) -> str:
    """Return ``-iFORMAT`` for ``-i=FORMAT``."""
    if word.startswith(("-i=", "-o=", "-s=")):
        return word[:2] + word[3:]
    return word
