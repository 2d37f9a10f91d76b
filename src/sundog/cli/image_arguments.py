"""``ch-image``'s command line.

The common options may stand before or after the subcommand.  An option after it replaces the same
option before it.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from sundog import __version__
from sundog.cli.build_arguments import add_build_options, add_modify_options
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import Any, NoReturn, TextIO

# Columns of the help: the width where the terminal tells none, and the margin.
_WIDTH, _MARGIN = 80, 2


class ImageArguments(argparse.Namespace):
    """The options as attributes: those of all subcommands, and the common ones."""

    subcommand: str | None = None
    storage: str | None = None
    verbose: int = 0
    quiet: int = 0
    cache: str | None = None
    debug: bool = False
    no_limits: bool = False
    always_download: bool = False
    arch: str = "host"
    auth: bool = False
    compression: str = "gzip"
    image: str | None = None
    images: Sequence[str]
    output: str
    password_many: bool = False
    tls_no_verify: bool = False

    bind: Sequence[str] = ()
    build_arg: Sequence[str] = ()
    build_context: Sequence[str] = ()
    check: bool = False
    context: str
    dry_run: bool = False
    file: str | None = None
    force: str
    force_cmd: Sequence[str] = ()
    no_fallback: bool = False
    parse_only: bool = False
    real_sync: bool = False
    label: Sequence[str] = ()
    iidfile: str = ""
    metadata_file: str = ""
    secret: Sequence[str] = ()
    ssh: Sequence[str] = ()
    tag: Sequence[str] = ()
    target_stage: str = ""

    collect: bool = False
    command: Sequence[str] = ()
    format: str = "text"
    destination: str | None = None
    globs: Sequence[str]
    key: str
    last_layer: int | None = None
    long: bool
    password_stdin: bool = False
    path: str
    reference: str
    registry: str
    reset: bool = False
    script: str | None = None
    shell: str | None = None
    target: str | None = None
    tree: bool = False
    username: str | None = None


class _Formatter(argparse.HelpFormatter):
    """Format help as wide as the terminal.

    argparse's own formatter imports half of the standard library to ask for the width.
    """

    def __init__(self, prog: str) -> None:
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isascii() and columns.isdigit() else 0
        with suppress(OSError):
            width = width or os.get_terminal_size().columns
        super().__init__(prog, width=(width or _WIDTH) - _MARGIN)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help")


class _OneOf(argparse.Action):
    """Store ``const``, once on each side of the subcommand.

    argparse's own groups of that kind fail in Python 3.11 where their help is suppressed.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,  # noqa: ARG002 - as argparse calls it
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest, None) not in (None, self.const):
            parser.error(f"argument {option_string}: only one of its kind is allowed")
        setattr(namespace, self.dest, self.const)


def parse_arguments(argv: Sequence[str]) -> ImageArguments:
    """Read the command line; raise UsageError.  ``--help`` and ``--version`` exit."""
    arguments, unknown = _parser(wanted=argv).parse_known_args(argv, namespace=ImageArguments())
    if arguments.subcommand is None:
        raise UsageError("CMD not specified", "ch-image --help")
    if unknown:
        raise UsageError(
            f"unrecognized arguments: {' '.join(unknown)}",
            f"ch-image {arguments.subcommand} --help",
        )
    if arguments.quiet and arguments.verbose:
        raise UsageError('"--quiet" incompatible with "--verbose"', "leave out one of them")
    return arguments


def print_help(stream: TextIO) -> None:
    """Print the help, as an empty command line asks for it."""
    _parser().print_help(stream)


def _parser(wanted: Container[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser, with the options of the subcommands that are ``wanted``.

    None stands for all subcommands, as the manual needs them.  Of others it has the name only:
    their options take milliseconds.
    """
    parser = _Parser(
        prog="ch-image",
        description="Build and manage images, completely unprivileged.",
        parents=[_common_options(hidden=False)],
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="print the version and exit"
    )
    subcommands = parser.add_subparsers(
        prog=parser.prog, dest="subcommand", metavar="CMD", title="subcommands"
    )
    common = _common_options(hidden=True)
    for name, (summary, add_options) in _SUBCOMMANDS.items():
        if wanted is not None and name not in wanted:
            subcommands.add_parser(name, help=summary, add_help=False)
            continue
        subcommand = subcommands.add_parser(
            name, help=summary, description=f"{summary}.", parents=[common]
        )
        add_options(subcommand)
    return parser


def _common_options(*, hidden: bool) -> _Parser:
    """Return the options that may stand before or after the subcommand."""
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("common options, before or after CMD")

    def option(*names: str, help: str, **settings: object) -> None:  # noqa: A002 - argparse's word
        group.add_argument(
            *names,
            help=argparse.SUPPRESS if hidden else help,
            **settings,  # type: ignore[arg-type]
        )

    def cache_option(name: str, mode: str, help: str) -> None:  # noqa: A002
        option(name, dest="cache", action=_OneOf, nargs=0, const=mode, help=help)

    cache_option("--cache", "enabled", "use the build cache (default; $CH_IMAGE_CACHE)")
    cache_option("--no-cache", "disabled", "neither read nor write the build cache")
    cache_option("--rebuild", "rebuild", "run all instructions again, and cache the results")
    option(
        "-a",
        "--arch",
        metavar="ARCH",
        help="architecture: host (default), arm64, arm/v7...; yolo takes what the registry gives",
    )
    option(
        "--always-download",
        action="store_true",
        help="fetch manifests again, even if they are in storage",
    )
    option(
        "--auth",
        action="store_true",
        help="log in to registries, ask for the password if need be ($CH_IMAGE_AUTH)",
    )
    option("--debug", action="store_true", help="show a stack trace with an error")
    option("--no-limits", action="store_true", help="unpack archives of any size (see the manual)")
    option("-q", "--quiet", action="count", help="say less (repeat for still less)")
    option("--password-many", action="store_true", help="ask for the password each time")
    option("-s", "--storage", metavar="DIR", help="storage directory ($CH_IMAGE_STORAGE)")
    option("--tls-no-verify", action="store_true", help="trust any registry's certificate")
    option("-v", "--verbose", action="count", help="say more (repeat for still more)")
    return parser


def _format_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=["text", "json"], default="text", help="for people (default) or scripts"
    )


def _build_cache_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reset", action="store_true", help="forget all results")
    parser.add_argument(
        "--gc", dest="collect", action="store_true", help="forget results that no image is made of"
    )
    parser.add_argument("--tree", action="store_true", help="show which layer was made on which")
    _format_option(parser)


def _push_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="IMAGE", help="what to push: its name in storage")
    parser.add_argument(
        "destination", metavar="DEST", nargs="?", help="where to: HOST/PATH[:TAG] (default: IMAGE)"
    )
    parser.add_argument(
        "--image", metavar="DIR", help="push this directory instead, as one layer, to IMAGE"
    )
    _compression_option(parser)


def _save_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="name of an image in storage")
    parser.add_argument(
        "-o", "--output", metavar="PATH", default="-", help="where to (default: standard output)"
    )
    parser.add_argument(
        "--format",
        choices=["oci-archive", "oci-dir", "docker-archive"],
        default="oci-archive",
        help="oci-archive (default), oci-dir, or docker-archive as docker load reads it",
    )
    _compression_option(parser)


def _compression_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compression",
        metavar="NAME",
        default="gzip",
        help="for layers made here: gzip (default), zstd or none; other layers stay as they came",
    )


def _delete_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("globs", metavar="GLOB", nargs="+", help="name of an image, or pattern")


def _gestalt_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key", metavar="KEY", choices=["storage-path"], help="storage-path: where images are kept"
    )


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", help="tar archive, perhaps compressed, or directory"
    )
    parser.add_argument("reference", metavar="IMAGE", help="name of the new image")


def _history_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="IMAGE", help="name of the image")
    _format_option(parser)


def _inspect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("globs", metavar="GLOB", nargs="+", help="name of an image, or pattern")


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-l", "--long", action="store_true", help="with ID, time, size, layers and origin"
    )
    parser.add_argument(
        "globs",
        metavar="GLOB",
        nargs="*",
        help="pattern of names; one name alone shows its details",
    )
    _format_option(parser)


def _login_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("registry", metavar="HOST", help="the registry, as in references")
    parser.add_argument("-u", "--username", metavar="USER", help="default: ask")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )


def _logout_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("registry", metavar="HOST", help="the registry, as in references")


def _load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", help="archive, perhaps compressed; or a layout's directory; or -"
    )
    parser.add_argument(
        "destination", metavar="NAME", nargs="?", help="name of the image (default: its own)"
    )


def _oci_bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="IMAGE", help="name of the image")
    parser.add_argument("path", metavar="DIR", help="the bundle, a new directory")


def _pull_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="IMAGE", help="what to fetch: [HOST/]PATH[:TAG]")
    parser.add_argument(
        "destination", metavar="NAME", nargs="?", help="its name in storage (default: IMAGE)"
    )
    parser.add_argument(
        "--last-layer",
        metavar="N",
        type=_positive,
        help="unpack N layers only, which leaves an incomplete image",
    )
    parser.add_argument(
        "--parse-only", action="store_true", help="show how IMAGE is understood, and stop"
    )


def _reset_options(parser: argparse.ArgumentParser) -> None:
    """Add nothing: reset has no options of its own."""


def _tag_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="IMAGE", help="name of the image")
    parser.add_argument("target", metavar="NAME", help="its further name")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"not a number above 0: {text}")
    return int(text)


# Name of the subcommand: its summary, and the function that adds its options.  In the help's order.
_SUBCOMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "build": ("build an image from a Dockerfile", add_build_options),
    "build-cache": ("show, or clean up, the build cache", _build_cache_options),
    "delete": ("delete images from storage", _delete_options),
    "gestalt": ("tell something about this installation", _gestalt_options),
    "import": ("import a tar archive or a directory as an image", _import_options),
    "history": ("tell how an image came about", _history_options),
    "inspect": ("print all that is known of images, as JSON", _inspect_options),
    "list": ("list the images in storage, or tell about one", _list_options),
    "login": ("log in to a registry", _login_options),
    "logout": ("forget the login to a registry", _logout_options),
    "load": ("take images out of an archive or an OCI layout", _load_options),
    "oci-bundle": ("make a bundle for ch-run-oci, without a copy", _oci_bundle_options),
    "save": ("write images to an archive or an OCI layout", _save_options),
    "push": ("copy an image to a registry", _push_options),
    "modify": ("run commands in an image, and keep the result", add_modify_options),
    "pull": ("fetch an image from a registry", _pull_options),
    "reset": ("delete everything in storage", _reset_options),
    "tag": ("give an image another name", _tag_options),
}


def storage_path(arguments: ImageArguments) -> str | None:
    """Return the storage directory that the user asked for, None for the default."""
    if arguments.storage == "":
        raise UsageError("--storage: DIR is empty", "ch-image --help")
    return None if arguments.storage is None else os.path.abspath(arguments.storage)
