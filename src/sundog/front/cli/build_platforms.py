"""The platforms that ``build`` is for: ``--platform`` and ``--arch``."""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.cli.registries import HOST, chosen_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.image.oci.platform import Platform

_LOCAL = "local"  # docker buildx's word for this machine's


def build_platform(arguments: BuildArguments) -> Platform | None:
    """Return the platform of the build; None for this machine's.  Raises UsageError."""
    words = [word for text in arguments.platform for word in text.split(",")]
    if words and arguments.arch != HOST:
        raise UsageError("--platform and --arch say the same", "leave one of them out")
    found = list(
        dict.fromkeys(
            chosen_platform(HOST if word == _LOCAL else word)
            for word in words or arguments.arch.split(",")
        )
    )
    if len(found) > 1:
        raise UsageError(
            f"--platform: {len(found)} platforms at a time",
            "build for each by itself, under a name of its own: --platform=OS/ARCH -t NAME:ARCH",
        )
    return found[0]
