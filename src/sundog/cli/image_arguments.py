"""``ch-image``'s command line.

The common options may stand before or after the subcommand.  An option after it replaces the same
option before it.
"""

from __future__ import annotations

import argparse
import os

from sundog import __version__
from sundog.cli.build_arguments import add_build_options, add_modify_options
from sundog.cli.parser import OneOf, Parser, PodmanOption, suggestion
from sundog.cli.reference_options import (
    ReferenceArguments,
    add_dot_option,
    add_gestalt_options,
    add_reference_options,
    add_undeletable_option,
    add_undelete_options,
    check_pairs,
)
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import TextIO


class ImageArguments(ReferenceArguments):
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
    progress: str = "auto"
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
    remote: bool = False
    reset: bool = False
    script: str | None = None
    shell: str | None = None
    target: str | None = None
    topic: str | None = None
    tree: bool = False
    username: str | None = None


def parse_arguments(argv: Sequence[str]) -> ImageArguments:
    """Read the command line; raise UsageError.  ``--help`` and ``--version`` exit."""
    parser = _parser(wanted=argv)
    arguments, unknown = parser.parse_known_args(argv, namespace=ImageArguments())
    if unknown:
        known = _subcommands(parser)
        raise known.get(arguments.subcommand or "", parser).unrecognized(unknown)
    if arguments.dependencies:
        return arguments
    if arguments.subcommand is None:
        raise UsageError("CMD not specified", "ch-image --help")
    if arguments.subcommand in _ALIASES:
        arguments.subcommand = _ALIASES[arguments.subcommand][0]
    if arguments.quiet and arguments.verbose:
        raise UsageError('"--quiet" incompatible with "--verbose"', "leave out one of them")
    check_pairs(arguments)
    return arguments


def print_help(stream: TextIO, subcommand: str | None = None) -> None:
    """Print the help of ``ch-image``, or of a subcommand; raise UsageError if there is none."""
    parser = _parser()
    if subcommand is not None:
        known = _subcommands(parser)
        if subcommand not in known:
            raise UsageError(
                f"not a subcommand: {subcommand}", suggestion(subcommand, known) + "ch-image --help"
            )
        parser = known[subcommand]
    parser.print_help(stream)


def _parser(wanted: Container[str] | None = None) -> Parser:
    """Return the parser, with the options of the subcommands that are ``wanted``.

    None stands for all subcommands, as the manual needs them.  Of others it has the name only:
    their options take milliseconds.
    """
    parser = Parser(
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
    summaries = {
        **_SUBCOMMANDS,
        **{
            alias: (summary, _SUBCOMMANDS[name][1])
            for alias, (name, summary, _) in _ALIASES.items()
        },
    }
    for name, (summary, add_options) in summaries.items():
        if wanted is not None and name not in wanted:
            subcommands.add_parser(name, help=summary, add_help=False)
            continue
        subcommand = subcommands.add_parser(
            name, help=summary, description=f"{summary}.", parents=[common]
        )
        add_options(subcommand)
        if name in _ALIASES:
            subcommand.set_defaults(**_ALIASES[name][2])
    return parser


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parsers of the subcommands by name."""
    return next(
        dict(action.choices)
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def _common_options(*, hidden: bool) -> Parser:
    """Return the options that may stand before or after the subcommand."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("common options, before or after CMD")

    def option(*names: str, help: str, **settings: object) -> None:  # noqa: A002 - argparse's word
        group.add_argument(
            *names,
            help=argparse.SUPPRESS if hidden else help,
            **settings,  # type: ignore[arg-type]
        )

    def cache_option(name: str, mode: str, help: str) -> None:  # noqa: A002
        option(name, dest="cache", action=OneOf, nargs=0, const=mode, help=help)

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
    add_reference_options(option)
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
    add_dot_option(parser)
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
    parser.add_argument("--compress", action=PodmanOption, const="write --compression=NAME")


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
    parser.add_argument("--compress", action=PodmanOption, const="write --compression=NAME")


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
    add_gestalt_options(parser)
    _format_option(parser)


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", help="tar archive, perhaps compressed, or directory"
    )
    parser.add_argument("reference", metavar="IMAGE", help="name of the new image")


def _help_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="SUBCOMMAND", nargs="?", help="default: ch-image itself")


def _history_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="IMAGE", help="name of the image")
    _format_option(parser)


def _inspect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("globs", metavar="GLOB", nargs="+", help="name of an image, or pattern")
    parser.add_argument(
        "--format", choices=["json"], default="json", help="json: the only format, and the default"
    )


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
    parser.add_argument(
        "--remote", action="store_true", help="with one name: ask the registry about it, too"
    )
    add_undeletable_option(parser)
    _format_option(parser)


def _login_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("registry", metavar="HOST", help="the registry, as in references")
    parser.add_argument("-u", "--username", metavar="USER", help="default: ask")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    parser.add_argument(
        "--password",
        action=PodmanOption,
        const="other users can read command lines; write --password-stdin",
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
    "help": ("print the help of ch-image, or of a subcommand", _help_options),
    "import": ("import a tar archive or a directory as an image", _import_options),
    "history": ("tell how an image came about", _history_options),
    "inspect": ("print all that is known of images, as JSON", _inspect_options),
    "list": ("list the images in storage, or tell about one", _list_options),
    "login": ("log in to a registry", _login_options),
    "logout": ("forget the login to a registry", _logout_options),
    "load": ("take images out of an archive or an OCI layout", _load_options),
    "save": ("write images to an archive or an OCI layout", _save_options),
    "push": ("copy an image to a registry", _push_options),
    "modify": ("run commands in an image, and keep the result", add_modify_options),
    "pull": ("fetch an image from a registry", _pull_options),
    "reset": ("delete everything in storage", _reset_options),
    "tag": ("give an image another name", _tag_options),
    "undelete": ("restore a deleted image from the build cache", add_undelete_options),
}


# Further names, as users of other tools type them: the subcommand, the summary, and the options
# that the name sets.
_ALIASES: dict[str, tuple[str, str, dict[str, object]]] = {
    "images": ("list", "the same as list --long", {"long": True}),
    "ls": ("list", "the same as list", {}),
    "prune": ("build-cache", "the same as build-cache --gc", {"collect": True}),
    "rm": ("delete", "the same as delete", {}),
}


def storage_path(arguments: ImageArguments) -> str | None:
    """Return the storage directory that the user asked for, None for the default."""
    if arguments.storage == "":
        raise UsageError("--storage: DIR is empty", "ch-image --help")
    return None if arguments.storage is None else os.path.abspath(arguments.storage)
