"""The subcommands of ``ch-image``: their names, summaries and options."""

from __future__ import annotations

import argparse

from sundog.front.cli.build_arguments import add_build_options, add_modify_options
from sundog.front.cli.parser import PodmanOption
from sundog.front.cli.reference_options import (
    add_dot_option,
    add_gestalt_options,
    add_undeletable_option,
    add_undelete_options,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
SUBCOMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
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
    "oci-bundle": ("make a bundle for ch-run-oci, without a copy", _oci_bundle_options),
    "save": ("write images to an archive or an OCI layout", _save_options),
    "push": ("copy an image to a registry", _push_options),
    "modify": ("run commands in an image, and keep the result", add_modify_options),
    "pull": ("fetch an image from a registry", _pull_options),
    "reset": ("delete everything in storage", _reset_options),
    "tag": ("give an image another name", _tag_options),
    "undelete": ("restore a deleted image whose layers are in storage", add_undelete_options),
}

# Further names, as users of other tools type them: the subcommand, the summary, and the options
# that the name sets.
ALIASES: dict[str, tuple[str, str, dict[str, object]]] = {
    "images": ("list", "the same as list --long", {"long": True}),
    "ls": ("list", "the same as list", {}),
    "prune": ("build-cache", "the same as build-cache --gc", {"collect": True}),
    "rm": ("delete", "the same as delete", {}),
}
