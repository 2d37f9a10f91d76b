"""The options of ``ch-image`` that may stand before or after the subcommand."""

from __future__ import annotations

import argparse
import math
import os

from sundog.errors import UsageError
from sundog.front.cli.option_rows import counted, flag, option, repeated
from sundog.front.cli.parser import OneOf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sundog.base.configuration.stores import SharedStores


def _cache(names: str, mode: str, text: str) -> Any:
    return flag(names, text, action=OneOf, nargs=0, const=mode, dest="cache", default=None)


def _size(text: str) -> float:
    """Return a number of MiB, 0 for no limit."""
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if math.isnan(size):
        raise argparse.ArgumentTypeError(f"not a number: {text}")
    return max(size, 0)


def _place(text: str) -> tuple[str, int]:
    """Return the module and the line of ``--break``."""
    module, colon, line = text.rpartition(":")
    if not (colon and module and line.isascii() and line.isdigit() and int(line)):
        raise argparse.ArgumentTypeError(f"not MODULE:LINE: {text}")
    return module, int(line)


def image_store_option() -> Any:
    """Return the row of --image-store, whose value ``named_stores`` takes."""
    return repeated(
        "--image-store", "DIR", "also look for images in this shared store ($CH_IMAGE_STORES)"
    )


def named_stores(paths: Sequence[str], warn: Callable[[str], None]) -> SharedStores:
    """Return the shared stores, those of the option --image-store first.  Raises UsageError."""
    from sundog.base.configuration.stores import SharedStores  # not for the help

    if "" in paths:
        raise UsageError("--image-store: DIR is empty", "write ./ for the working directory")
    named = [os.path.abspath(os.fsencode(path)) for path in paths]
    return SharedStores(os.environb, named, warn)


class ImageArguments(argparse.Namespace):
    """The options of all subcommands, each of which has its own class."""

    subcommand: str

    cache: str | None = _cache(
        "--cache", "enabled", "use the build cache (default; $CH_IMAGE_CACHE)"
    )
    _no_cache = _cache("--no-cache", "disabled", "neither read nor write the build cache")
    _rebuild = _cache("--rebuild", "rebuild", "run all instructions again, and cache the results")
    arch: str = option(
        "-a --arch",
        "ARCH",
        "architecture: host (default; in storage, else the only one), arm64, arm/v7...; "
        "yolo takes what the registry gives",
        default="host",
    )
    always_download: bool = flag(
        "--always-download", "fetch manifests again, even if they are in storage"
    )
    auth: bool = flag(
        "--auth", "log in to registries, ask for the password if need be ($CH_IMAGE_AUTH)"
    )
    debug: bool = flag("--debug", "show a stack trace with an error")
    image_stores: list[str] = image_store_option()
    no_limits: bool = flag("--no-limits", "unpack archives of any size (see the manual)")
    quiet: int = counted("-q --quiet", "say less (repeat for still less)")
    password_many: bool = flag("--password-many", "ask for the password each time")
    storage: str | None = option("-s --storage", "DIR", "storage directory ($CH_IMAGE_STORAGE)")
    tls_no_verify: bool = flag("--tls-no-verify", "trust any registry's certificate")
    verbose: int = counted("-v --verbose", "say more (repeat for still more)")
    # Scripts for Charliecloud use these.  ``notes`` says which have nothing to do, and why.
    break_at: tuple[str, int] | None = option(
        "--break",
        "MODULE:LINE",
        "stop in Python's debugger before that line (for developers)",
        type=_place,
    )
    cache_large: float = option(
        "--cache-large",
        "MIB",
        "accepted: the build cache needs no special place for large files",
        type=_size,
        default=0,
    )
    dependencies: bool = flag(
        "--dependencies", "print which programs for further features are missing, and exit"
    )
    no_lock: bool = flag("--no-lock", "accepted: no command locks the storage for long")
    profile: bool = flag(
        "--profile", "write a profile to ./profile.p and ./profile.txt (for developers)"
    )
    xattrs: bool = flag("--xattrs", "accepted: layers keep extended attributes")
    no_xattrs: bool = flag("--no-xattrs", "accepted: layers keep extended attributes")

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.quiet and self.verbose:
            raise UsageError('"--quiet" incompatible with "--verbose"', "leave out one of them")
        if self.xattrs and self.no_xattrs:
            raise UsageError('"--xattrs" incompatible with "--no-xattrs"', "leave out one of them")

    def shared_stores(self, warn: Callable[[str], None]) -> SharedStores:
        """Return where images are looked for that the storage directory lacks."""
        return named_stores(self.image_stores, warn)

    def storage_path(self) -> str | None:
        """Return the storage directory that the user asked for, None for the default."""
        if self.storage == "":
            raise UsageError("--storage: DIR is empty", "ch-image --help")
        return None if self.storage is None else os.path.abspath(self.storage)
