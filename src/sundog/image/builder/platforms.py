"""``FROM --platform``: the platform of a stage, and the check of its base.

Specification: the Dockerfile reference, “FROM”.  An image in storage has one platform.  A registry
may have several; a pull chooses one.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.image.oci.platform import Platform, machine_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.dockerfile.instructions import From
    from sundog.image.dockerfile.parse import Dockerfile
    from sundog.image.oci.config import ImageConfig


def platform_of(config: ImageConfig) -> Platform:
    """Return the platform of an image, this machine's if it has none."""
    if not config.architecture:
        return Platform.of_host()
    return Platform.of(config.os, config.architecture, config.variant)


def wanted_platform(dockerfile: Dockerfile, start: From) -> Platform | None:
    """Return the platform that a FROM, after substitution, asks for; None if it asks for none.

    Raises DockerfileError.
    """
    if not start.platform:
        return None
    try:
        return Platform.parse(start.platform)
    except UsageError as error:
        raise dockerfile.error(
            start, error.message, near="--platform", hint="for example --platform=linux/arm64"
        ) from error


def suits(config: ImageConfig, platform: Platform) -> bool:
    """Tell whether an image is for ``platform``.

    An image without a platform is for all platforms.  An image without a variant is for all
    variants.
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


def foreign_machine(config: ImageConfig) -> str:
    """Return QEMU's name for the machine of an image; "" if it is this one, or unknown."""
    machine = machine_of(config.architecture.lower())
    return "" if machine == machine_of(Platform.of_host().architecture) else machine
