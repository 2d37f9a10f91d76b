"""The options of a pull.

They have a module of their own because a build that pulls nothing needs no other module of this
package.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Options of a pull.

    platform        the platform to pull for; None: this machine's, or the only one
    any_platform    take the image that the registry returns when asked for no platform
    last_layer      unpack only so many layers, which leaves an incomplete image
    lazy            let the contents of layers come when they are read
    fresh           fetch manifests and configurations even if the store has them
    """

    platform: Platform | None = None
    any_platform: bool = False
    last_layer: int | None = None
    fresh: bool = False
    lazy: bool = False

    @property
    def wanted(self) -> Platform:
        """The platform that is asked for."""
        return self.platform or Platform.of_host()
