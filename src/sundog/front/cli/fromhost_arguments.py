"""``ch-fromhost``'s command line: options may stand anywhere.

--dest counts for the files that are named after it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from sundog.errors import UsageError
from sundog.front.cli.option_rows import add_rows, counted, flag, operand, option
from sundog.front.cli.parser import SmallParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = "Put files of the host into the directory of an image: all of them, or none."
_DEST = "--dest"
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


class _AddFiles(argparse.Action):
    """Add a FileOption.  --dest is one, too, until all are read: the next ones take its value."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        name = self.option_strings[-1]
        if values == "":
            raise UsageError(f"{name} must not be empty")
        value = values if isinstance(values, str) else ""
        before = namespace.files[-1].destination if namespace.files else ""
        destination = value if name == _DEST else before
        namespace.files += (FileOption(name, value, destination),)


def _destination(text: str) -> str:
    """Return the value of --dest."""
    if text and not text.startswith("/"):
        raise UsageError(f"not an absolute path: {text}", "DST is a directory of the image")
    return text


def _files(names: str, metavar: str | None, text: str, **settings: object) -> Any:
    return option(names, metavar, text, action=_AddFiles, dest="files", default=(), **settings)


class _FileRows:
    """The options that name files; ``files`` has them in order."""

    cmd = _files("-c --cmd", "CMD", "the files that CMD prints")
    file = _files("-f --file", "FILE", "the files in the list FILE")
    path = _files("-p --path", "PATH", "the file PATH")
    nvidia = _files("--nvidia", None, "what nvidia-container-cli lists: GPU libraries", nargs=0)
    cxi = _files("--cray-cxi", None, "libfabric: $CH_FROMHOST_OFI_CXI", nargs=0)
    gni = _files("--cray-gni", None, "a provider: $CH_FROMHOST_OFI_GNI", nargs=0)


class FromhostArguments(argparse.Namespace):
    """The command line."""

    help: bool
    version: bool
    files: Sequence[FileOption]
    images: Sequence[str] = operand("IMGDIR", "the directory of the image", nargs="*")
    destination = _files(
        f"-d {_DEST}",
        "DST",
        "the image's directory for the files named after this option",
        type=_destination,
    )
    no_ldconfig: bool = flag("--no-ldconfig", "leave the linker's cache as it is")
    print_lib: bool = flag(
        "--print-lib --lib-path", "print the image's directory for libraries, and exit"
    )
    print_fi: bool = flag("--print-fi", "print that for providers of libfabric, and exit")
    print_cray_fi: bool = flag("--print-cray-fi", "print that of libfabric, and exit")
    quiet: int = counted("-q --quiet", "print warnings and errors only")
    verbose: int = counted("-v --verbose", "print each file; twice: also more")


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-fromhost", " FILE_OPTION... IMGDIR", _DESCRIPTION, _EPILOGUE)
    named = parser.add_argument_group("files (at least one of these; each may be repeated)")
    add_rows(_FileRows, named.add_argument)
    add_rows(FromhostArguments, parser.add_argument)
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> FromhostArguments:
    """Parse the command line; raise UsageError."""
    # argparse of Python 3.11 looks for options after "--", too.
    end = argv.index("--") if "--" in argv else len(argv)
    arguments = FromhostArguments(**vars(make_parser().parse_intermixed_args(argv[:end])))
    arguments.images = [*arguments.images, *argv[end + 1 :]]
    if arguments.help or arguments.version:
        return arguments
    if not arguments.images:
        raise UsageError("no image specified", "ch-fromhost --help")
    if arguments.files and arguments.files[-1].option == _DEST:
        raise UsageError(
            f"{_DEST} {arguments.files[-1].value}: no file is named after it",
            "write it before the files",
        )
    arguments.files = [each for each in arguments.files if each.option != _DEST]
    if len(arguments.images) > 1:
        raise UsageError(f"duplicate image: {arguments.images[1]}", "name one image at a time")
    return arguments
