"""The options of ``ch-image`` that may stand before or after the subcommand."""

from __future__ import annotations

import argparse
import os

from sundog.errors import UsageError
from sundog.front.cli.option_rows import counted, flag, option
from sundog.front.cli.parser import OneOf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _cache(names: str, mode: str, text: str) -> Any:
    return flag(names, text, action=OneOf, nargs=0, const=mode, dest="cache", default=None)


class CommonArguments(argparse.Namespace):
    """The subcommand, and the options that all of them have."""

    subcommand: str

    cache: str | None = _cache(
        "--cache", "enabled", "use the build cache (default; $CH_IMAGE_CACHE)"
    )
    _no_cache = _cache("--no-cache", "disabled", "neither read nor write the build cache")
    _rebuild = _cache("--rebuild", "rebuild", "run all instructions again, and cache the results")
    arch: str = option(
        "-a --arch",
        "ARCH",
        "architecture: host (default), arm64, arm/v7...; yolo takes what the registry gives",
        default="host",
    )
    always_download: bool = flag(
        "--always-download", "fetch manifests again, even if they are in storage"
    )
    auth: bool = flag(
        "--auth", "log in to registries, ask for the password if need be ($CH_IMAGE_AUTH)"
    )
    debug: bool = flag("--debug", "show a stack trace with an error")
    no_limits: bool = flag("--no-limits", "unpack archives of any size (see the manual)")
    quiet: int = counted("-q --quiet", "say less (repeat for still less)")
    password_many: bool = flag("--password-many", "ask for the password each time")
    storage: str | None = option("-s --storage", "DIR", "storage directory ($CH_IMAGE_STORAGE)")
    tls_no_verify: bool = flag("--tls-no-verify", "trust any registry's certificate")
    verbose: int = counted("-v --verbose", "say more (repeat for still more)")

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.quiet and self.verbose:
            raise UsageError('"--quiet" incompatible with "--verbose"', "leave out one of them")

    def storage_path(self) -> str | None:
        """Return the storage directory that the user asked for, None for the default."""
        if self.storage == "":
            raise UsageError("--storage: DIR is empty", "ch-image --help")
        return None if self.storage is None else os.path.abspath(self.storage)
