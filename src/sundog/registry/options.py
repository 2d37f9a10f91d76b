"""What a pull is asked to do.

A module of its own: a build that pulls nothing needs nothing else of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How to pull.

    platform        for which the image is to be; None: this machine's, or what there is
    any_platform    take what the registry gives without being asked for a platform
    last_layer      unpack only so many layers, which leaves an incomplete image
    fresh           fetch manifests and configurations, whether the store has them or not
    """

    platform: Platform | None = None
    any_platform: bool = False
    last_layer: int | None = None
    fresh: bool = False

    @property
    def wanted(self) -> Platform:
        """The platform that is asked for."""
        return self.platform or Platform.of_host()
