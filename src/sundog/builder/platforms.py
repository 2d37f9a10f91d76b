"""``FROM --platform``: for which platform a stage is made, and whether its base is of it.

Specification: the Dockerfile reference, “FROM”.  An image in storage has one platform; which of
several a registry gives is chosen when it is pulled.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.dockerfile.instructions import From
    from sundog.dockerfile.parse import Dockerfile
    from sundog.oci.config import ImageConfig


def wanted_platform(dockerfile: Dockerfile, start: From) -> Platform | None:
    """Return what a FROM, variables substituted, asks for; None if nothing.

    Raises DockerfileError.
    """
    if not start.platform:
        return None
    try:
        return Platform.parse(start.platform)
    except UsageError as error:
        raise dockerfile.error(
            start, error.message, near="--platform", hint="as in --platform=linux/arm64"
        ) from error


def suits(config: ImageConfig, platform: Platform) -> bool:
    """Tell whether an image is for ``platform``.

    One that does not say what it is for is for all, and so is one without a variant.
    """
    if not config.architecture:
        return True
    found = Platform.of(config.os, config.architecture, config.variant)
    same = (found.os, found.architecture) == (platform.os, platform.architecture)
    return same and (found.variant == platform.variant or not (config.variant and platform.variant))


def check_platform(
    dockerfile: Dockerfile, start: From, config: ImageConfig, platform: Platform
) -> None:
    """Raise DockerfileError if the base of ``start`` is for another platform than ``platform``."""
    if suits(config, platform):
        return
    found = Platform.of(config.os, config.architecture, config.variant)
    raise dockerfile.error(
        start,
        f"{start.image_text} is for {found}, not for {platform}",
        near="--platform",
        hint=f"this machine is {Platform.of_host()}; import or pull an image for {platform}",
    )
