"""The subcommands of ``ch-image``: their names, summaries and command lines."""

from __future__ import annotations

import argparse

from sundog.base.spelling import byte_count
from sundog.errors import UsageError
from sundog.front.cli.build_arguments import BuildArguments, ModifyArguments
from sundog.front.cli.common_arguments import ImageArguments
from sundog.front.cli.option_rows import flag, foreign, operand, option, repeated
from sundog.front.cli.reference_options import DOT_DEFAULT, GESTALT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"not a number above 0: {text}")
    return int(text)


def _duration(text: str) -> float:
    """Return the seconds of a number of days, hours, minutes or seconds."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _SECONDS else (text, "s")
    if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS):
        raise argparse.ArgumentTypeError(f"not a time such as 14d, 12h, 30m or 90s: {text}")
    return int(number) * _SECONDS[unit]


def _bytes(text: str) -> int:
    size = byte_count(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"not a size such as 50G, 1.5T or 800M: {text}")
    return size


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise argparse.ArgumentTypeError(f"not a number of days: {text}")
    return int(text)


_SECONDS = {"d": 24 * 60 * 60, "h": 60 * 60, "m": 60, "s": 1}
_DIGITS = 6

_FORMAT = option(
    "--format", None, "for people (default) or scripts", choices=("text", "json"), default="text"
)
_COMPRESSION = option(
    "--compression",
    "NAME",
    "for layers made here: gzip (default), zstd, none, zstd:chunked or estargz; other layers stay "
    "as they came",
    default="gzip",
)
_COMPRESS = foreign("--compress", "write --compression=NAME")
_GLOBS = operand("GLOB", "name of an image, or pattern", nargs="+")
_REFERENCE = operand("IMAGE", "name of the image")
_REGISTRY = operand("HOST", "the registry, as in references")


class BuildCacheArguments(ImageArguments):
    """The command line of ``build-cache``."""

    reset: bool = flag("--reset", "forget all results")
    collect: bool = flag("--gc", "forget results that no image is made of")
    tree: bool = flag("--tree", "show which layer was made on which")
    images: Sequence[str] = operand(
        "IMAGE",
        "for --export: the results of the last builds of these (default: of all)",
        nargs="*",
    )
    export: str = option(
        "--export", "FILE", "write results to a file, for another storage; - for stdout", default=""
    )
    stage: Sequence[str] = repeated(
        "--stage", "STAGE", "for --export: those of this stage, by name or number; repeatable"
    )
    source: str = option(
        "--import", "FILE", "take results from such a file; - for stdin", default=""
    )
    compression: str = _COMPRESSION
    dot: str | None = option(
        "--dot",
        "PATH",
        f"write the tree to PATH.gv, and to PATH.pdf by dot(1) (default: {DOT_DEFAULT})",
        nargs="?",
        const=DOT_DEFAULT,
    )
    format: str = _FORMAT


class PushArguments(ImageArguments):
    """The command line of ``push``."""

    reference: str = operand("IMAGE", "what to push: its name in storage")
    destination: str | None = operand(
        "DEST", "where to: HOST/PATH[:TAG] (default: IMAGE)", nargs="?"
    )
    image: str | None = option(
        "--image", "DIR", "push this directory instead, as one layer, to IMAGE"
    )
    compression: str = _COMPRESSION
    first: str | None = option(
        "--first",
        "FILE",
        "for --compression=estargz: put the files first that FILE lists, by ch-run --record or by "
        "path; kept: those of all records in storage",
    )
    _compress = _COMPRESS

    def check(self) -> None:
        """Raise UsageError for words that do not fit together."""
        super().check()
        if self.first is not None and self.compression != "estargz":
            raise UsageError(
                "--first: only eStargz has a mark for what comes first", "--compression=estargz"
            )


class SaveArguments(ImageArguments):
    """The command line of ``save``."""

    images: Sequence[str] = operand("IMAGE", "name of an image in storage", nargs="+")
    output: str = option("-o --output", "PATH", "where to (default: standard output)", default="-")
    format: str = option(
        "--format",
        None,
        "oci-archive (default), oci-dir, or docker-archive as docker load reads it",
        choices=("oci-archive", "oci-dir", "docker-archive"),
        default="oci-archive",
    )
    compression: str = _COMPRESSION
    _compress = _COMPRESS


class DeleteArguments(ImageArguments):
    """The command line of ``delete``."""

    globs: Sequence[str] = _GLOBS


class CollectArguments(ImageArguments):
    """The command line of ``gc``."""

    keep_days: int | None = option(
        "--keep-days", "N", "what was used in the last N days stays", type=_days
    )
    max_size: int | None = option(
        "--max-size", "SIZE", "remove until no more is left: 50G, 800M", type=_bytes
    )
    all: bool = flag("--all", "images, too, but not those of containers")
    dry_run: bool = flag("-n --dry-run", "print what would be removed, and remove nothing")
    format: str = _FORMAT


class GestaltArguments(ImageArguments):
    """The command line of ``gestalt``."""

    key: str = operand(
        "KEY",
        "; ".join(f"{key}: {meaning}" for key, meaning in GESTALT.items()),
        choices=GESTALT,
    )
    fail: bool = flag("--fail", "logging: fail at the end")
    format: str = _FORMAT

    def check(self) -> None:
        """Raise UsageError for options that exclude each other, or another key."""
        super().check()
        if self.fail and self.key != "logging":
            raise UsageError("--fail is for logging", "ch-image gestalt logging --fail")


class ImportArguments(ImageArguments):
    """The command line of ``import``."""

    path: str = operand("PATH", "tar archive, perhaps compressed, or directory")
    reference: str = operand("IMAGE", "name of the new image")


class HelpArguments(ImageArguments):
    """The command line of ``help``."""

    topic: str | None = operand("SUBCOMMAND", "default: ch-image itself", nargs="?")


class HistoryArguments(ImageArguments):
    """The command line of ``history``."""

    reference: str = _REFERENCE
    format: str = _FORMAT


class InspectArguments(ImageArguments):
    """The command line of ``inspect``."""

    globs: Sequence[str] = _GLOBS
    remote: bool = flag(
        "--remote", "print the manifest or the index that a registry has under one name, as it is"
    )
    format: str = option(
        "--format",
        None,
        "json: the only format, and the default",
        choices=("json",),
        default="json",
    )


class ListArguments(ImageArguments):
    """The command line of ``list``."""

    long: bool = flag("-l --long", "with ID, time, size, layers and origin")
    globs: Sequence[str] = operand(
        "GLOB", "pattern of names; one name alone shows its details", nargs="*"
    )
    remote: bool = flag("--remote", "with one name: ask the registry about it, too")
    undeletable: bool = flag(
        "-u --undeletable --undeleteable", "list the deleted images that undelete can restore"
    )
    format: str = _FORMAT


class LoginArguments(ImageArguments):
    """The command line of ``login``."""

    registry: str = _REGISTRY
    username: str | None = option("-u --username", "USER", "default: ask")
    password_stdin: bool = flag("--password-stdin", "read the password from standard input")
    _password = foreign("--password", "other users can read command lines; write --password-stdin")


class LogoutArguments(ImageArguments):
    """The command line of ``logout``."""

    registry: str = _REGISTRY


class LoadArguments(ImageArguments):
    """The command line of ``load``."""

    path: str = operand("PATH", "archive, perhaps compressed; or a layout's directory; or -")
    destination: str | None = operand("NAME", "name of the image (default: its own)", nargs="?")


class BundleArguments(ImageArguments):
    """The command line of ``oci-bundle``."""

    reference: str = _REFERENCE
    path: str = operand("DIR", "the bundle, a new directory")


class PackArguments(ImageArguments):
    """The command line of ``pack``."""

    references: Sequence[str] = operand("IMAGE", "name of an image in storage", nargs="+")


class UnpackArguments(ImageArguments):
    """The command line of ``unpack``."""

    references: Sequence[str] = operand("IMAGE", "name of an image in storage", nargs="+")


class ManifestArguments(ImageArguments):
    """The command line of ``manifest``."""

    action: str = operand(
        "WORD",
        "create, add, annotate, rm, push or inspect",
        choices=("create", "add", "annotate", "rm", "push", "inspect"),
    )
    name: str = operand("LIST", "name of the list")
    images: Sequence[str] = operand(
        "IMAGE",
        "images in storage or in registries; for annotate, the platform of one in the list; for "
        "push, the destination",
        nargs="*",
    )
    amend: bool = flag("--amend", "create: add to a list that is there")
    annotation: Sequence[str] = repeated(
        "--annotation", "NAME=VAL", "annotate: annotate the image, and its entry in an index"
    )
    os: str = option("--os", "OS", "annotate: the operating system of the image", default="")
    variant: str = option(
        "--variant", "VARIANT", "annotate: the variant of its architecture (-a)", default=""
    )
    compression: str = _COMPRESSION
    _compress = _COMPRESS
    _all = foreign("--all", "leave it out: all platforms are taken, --arch takes one")

    def check(self) -> None:
        """Raise UsageError for words that do not fit together."""
        super().check()
        for option_name in ("annotation", "os", "variant"):
            if getattr(self, option_name) and self.action != "annotate":
                raise UsageError(
                    f"manifest {self.action}: no --{option_name}",
                    "ch-image manifest annotate LIST IMAGE sets it",
                )


class MoveArguments(ImageArguments):
    """The command line of ``move``."""

    directory: str = operand("DIR", "the new place of the storage directory")


class PullArguments(ImageArguments):
    """The command line of ``pull``."""

    reference: str = operand("IMAGE", "what to fetch: [HOST/]PATH[:TAG]")
    destination: str | None = operand("NAME", "its name in storage (default: IMAGE)", nargs="?")
    platform: Sequence[str] = repeated(
        "--platform", "OS/ARCH[,...]", "fetch it for these platforms, as in linux/amd64,linux/arm64"
    )
    last_layer: int | None = option(
        "--last-layer",
        "N",
        "unpack N layers only, which leaves an incomplete image",
        type=_positive,
    )
    lazy: bool = flag("--lazy", "fetch what is needed to run it; the rest comes when it runs")
    parse_only: bool = flag("--parse-only", "show how IMAGE is understood, and stop")

    def check(self) -> None:
        """Raise UsageError for words that do not fit together."""
        super().check()
        if self.lazy and self.last_layer is not None:
            raise UsageError("--lazy and --last-layer exclude each other", "leave one of them out")


class PublishArguments(ImageArguments):
    """The command line of ``publish``."""

    images: Sequence[str] = operand("IMAGE", "name of an image in storage", nargs="*")
    directory: str = operand("DIR", "the shared store; a new one is made")
    known_as: str | None = option("--as", "NAME", "its name there (default: IMAGE)")
    collect: bool = flag("--gc", "remove from DIR what no image there has needed for --grace")
    grace: float | None = option(
        "--grace", "TIME", "with --gc: longer than any job (default: 14d)", type=_duration
    )

    def check(self) -> None:
        """Raise UsageError for words that do not fit together."""
        super().check()
        if self.collect and (self.images or self.known_as):
            raise UsageError("--gc: it takes only DIR", "ch-image publish --gc DIR")
        if not self.collect and not self.images:
            raise UsageError("which images?", "ch-image publish IMAGE… DIR")
        if self.grace is not None and not self.collect:
            raise UsageError("--grace is for --gc", "ch-image publish --gc --grace 14d DIR")
        if self.known_as is not None and len(self.images) > 1:
            raise UsageError("--as: for one image only", "ch-image publish --as NAME IMAGE DIR")


class UnpublishArguments(ImageArguments):
    """The command line of ``unpublish``."""

    reference: str = operand("NAME", "name of an image in DIR")
    directory: str = operand("DIR", "the shared store")


class IndexArguments(ImageArguments):
    """The command line of ``index``."""

    reference: str = operand("IMAGE", "[HOST/]PATH[:TAG] in a registry, or a layout: oci:DIR[:TAG]")
    push: bool = flag("--push", "give the registry the indexes, too, as a referrer of the image")


class TagArguments(ImageArguments):
    """The command line of ``tag``."""

    reference: str = _REFERENCE
    target: str = operand("NAME", "its further name")


class UsageArguments(ImageArguments):
    """The command line of ``usage``."""

    format: str = _FORMAT


class AdoptArguments(ImageArguments):
    """The command line of ``adopt``."""

    names: Sequence[str] = operand("NAME", "name of an image in a shared store", nargs="+")


class UndeleteArguments(ImageArguments):
    """The command line of ``undelete``."""

    reference: str = operand("IMAGE", "name of the deleted image")


# Name of the subcommand: its summary, and its command line.  In the help's order.
SUBCOMMANDS: dict[str, tuple[str, type[ImageArguments]]] = {
    "build": ("build an image from a Dockerfile", BuildArguments),
    "build-cache": ("show, or clean up, the build cache", BuildCacheArguments),
    "delete": ("delete images from storage", DeleteArguments),
    "gc": ("remove what was not used for long, or does not fit", CollectArguments),
    "gestalt": ("tell something about this installation", GestaltArguments),
    "help": ("print the help of ch-image, or of a subcommand", HelpArguments),
    "import": ("import a tar archive or a directory as an image", ImportArguments),
    "index": ("make indexes of gzip layers, for pull --lazy", IndexArguments),
    "history": ("tell how an image came about", HistoryArguments),
    "inspect": ("print all that is known of images, as JSON", InspectArguments),
    "list": ("list the images in storage, or tell about one", ListArguments),
    "login": ("log in to a registry", LoginArguments),
    "logout": ("forget the login to a registry", LogoutArguments),
    "load": ("take images out of an archive or an OCI layout", LoadArguments),
    "oci-bundle": ("make a bundle for ch-run-oci, without a copy", BundleArguments),
    "pack": ("make each layer of images one file", PackArguments),
    "save": ("write images to an archive or an OCI layout", SaveArguments),
    "publish": ("put images into a shared store, for others to run", PublishArguments),
    "push": ("copy an image to a registry", PushArguments),
    "manifest": ("make lists of images for several platforms", ManifestArguments),
    "modify": ("run commands in an image, and keep the result", ModifyArguments),
    "move": ("move the storage directory to another place", MoveArguments),
    "pull": ("fetch an image from a registry", PullArguments),
    "reset": ("delete everything in storage", ImageArguments),
    "tag": ("give an image another name", TagArguments),
    "adopt": ("copy an image of a shared store into storage", AdoptArguments),
    "unpack": ("make the layers of packed images trees again", UnpackArguments),
    "unpublish": ("remove the name of an image from a shared store", UnpublishArguments),
    "usage": ("tell what needs space in storage, and when it was used", UsageArguments),
    "undelete": ("restore a deleted image whose layers are in storage", UndeleteArguments),
}

# Further names, as users of other tools type them: the subcommand, the summary, and the options
# that the name sets.
ALIASES: dict[str, tuple[str, str, dict[str, object]]] = {
    "images": ("list", "the same as list --long", {"long": True}),
    "ls": ("list", "the same as list", {}),
    "prune": ("build-cache", "the same as build-cache --gc", {"collect": True}),
    "rm": ("delete", "the same as delete", {}),
}
