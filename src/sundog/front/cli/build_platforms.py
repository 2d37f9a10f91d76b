"""The platforms that ``build`` is for: ``--platform`` and ``--arch``."""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.cli.registries import HOST, chosen_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.image.oci.platform import Platform

_LOCAL = "local"  # docker buildx's word for this machine's


def build_platforms(arguments: BuildArguments) -> Sequence[Platform | None]:
    """Return the platforms to build for; None is this machine's.  Raises UsageError.

    Each of several makes an image of its own under the same name.
    """
    words = [word for text in arguments.platform for word in text.split(",")]
    if words and arguments.arch != HOST:
        raise UsageError("--platform and --arch say the same", "leave one of them out")
    found = list(
        dict.fromkeys(
            chosen_platform(HOST if word == _LOCAL else word)
            for word in words or arguments.arch.split(",")
        )
    )
    for option in ("iidfile", "metadata_file"):
        if len(found) > 1 and getattr(arguments, option):
            raise UsageError(
                f"--{option.replace('_', '-')}: {len(found)} platforms are as many images",
                "build for each by itself: --platform=OS/ARCH",
            )
    return found
