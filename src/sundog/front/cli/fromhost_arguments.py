"""``ch-fromhost``'s command line: options may stand anywhere.

--dest counts for the files that are named after it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from sundog.errors import UsageError
from sundog.front.cli.parser import SmallParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = "Put files of the host into the directory of an image: all of them, or none."
_EPILOGUE = """\
Without --dest, the path of a file tells its place: a path with /bin or /sbin is
a program, for /usr/bin; a path with /lib or .so is a library, for the directory
that the image's linker searches first.  If there was a library, the linker's
cache of the image is brought up to date.  See ch-fromhost(1).
"""


@dataclass(frozen=True, slots=True)
class FileOption:
    """An option that names files, its value, and the --dest that counts for it ("": none)."""

    option: str
    value: str
    destination: str


class FromhostArguments(argparse.Namespace):
    """The options as attributes."""

    help: bool = False
    version: bool = False
    images: Sequence[str] = ()
    files: list[FileOption]
    destination: str = ""
    is_destination_used: bool = False
    print_lib: bool = False
    print_fi: bool = False
    print_cray_fi: bool = False
    no_ldconfig: bool = False
    quiet: int = 0
    verbose: int = 0

    def __init__(self) -> None:
        super().__init__(files=[])


class _AddFiles(argparse.Action):
    """Add a FileOption, with the --dest that has been read so far."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        option = self.option_strings[-1]
        if values == "":
            raise UsageError(f"{option} must not be empty")
        value = values if isinstance(values, str) else ""
        namespace.files.append(FileOption(option, value, namespace.destination))
        namespace.is_destination_used = True


class _SetDestination(argparse.Action):
    """Check --dest and remember it."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        if not values:
            raise UsageError("--dest must not be empty")
        if not values.startswith("/"):
            raise UsageError(f"not an absolute path: {values}", "DST is a directory of the image")
        namespace.destination = values
        namespace.is_destination_used = False


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-fromhost", " FILE_OPTION... IMGDIR", _DESCRIPTION, _EPILOGUE)
    add = parser.add_argument
    add("images", metavar="IMGDIR", nargs="*", help="the directory of the image")
    named = parser.add_argument_group("files (at least one of these; each may be repeated)")
    add_files = named.add_argument
    add_files("-c", "--cmd", metavar="CMD", action=_AddFiles, help="the files that CMD prints")
    add_files("-f", "--file", metavar="FILE", action=_AddFiles, help="the files in the list FILE")
    add_files("-p", "--path", metavar="PATH", action=_AddFiles, help="the file PATH")
    add_files(
        "--nvidia", action=_AddFiles, nargs=0, help="what nvidia-container-cli lists: GPU libraries"
    )
    add_files("--cray-cxi", action=_AddFiles, nargs=0, help="libfabric: $CH_FROMHOST_OFI_CXI")
    add_files("--cray-gni", action=_AddFiles, nargs=0, help="a provider: $CH_FROMHOST_OFI_GNI")
    add(
        *("-d", "--dest"),
        metavar="DST",
        action=_SetDestination,
        help="the image's directory for the files named after this option",
    )
    add("--no-ldconfig", action="store_true", help="leave the linker's cache as it is")
    add(
        *("--print-lib", "--lib-path"),
        action="store_true",
        dest="print_lib",
        help="print the image's directory for libraries, and exit",
    )
    add("--print-fi", action="store_true", help="print that for providers of libfabric, and exit")
    add("--print-cray-fi", action="store_true", help="print that of libfabric, and exit")
    add("-q", "--quiet", action="count", default=0, help="print warnings and errors only")
    add("-v", "--verbose", action="count", default=0, help="print each file; twice: also more")
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> FromhostArguments:
    """Parse the command line; raise UsageError."""
    # argparse of Python 3.11 looks for options after "--", too.
    end = argv.index("--") if "--" in argv else len(argv)
    arguments = FromhostArguments()
    make_parser().parse_intermixed_args(list(argv[:end]), arguments)
    arguments.images = [*arguments.images, *argv[end + 1 :]]
    if arguments.help or arguments.version:
        return arguments
    if not arguments.images:
        raise UsageError("no image specified", "ch-fromhost --help")
    if arguments.destination and not arguments.is_destination_used:
        raise UsageError(
            f"--dest {arguments.destination}: no file is named after it",
            "write it before the files",
        )
    if len(arguments.images) > 1:
        raise UsageError(f"duplicate image: {arguments.images[1]}", "name one image at a time")
    return arguments
