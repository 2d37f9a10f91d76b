"""The image and the sources of --bind as the host has them, and the part of --bind."""

from __future__ import annotations

from sundog.runtime.container.hidden import Hidden, checked_binds
from sundog.runtime.container.operations import CREATED, Bind
from sundog.runtime.launcher.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.option_values import MountOptions
    from sundog.runtime.launcher.storage import Storage


class HostSources:
    """The image and the sources of --bind, none of which is one file with a file system."""

    __slots__ = ()

    def open_image(self, *, with_records: bool) -> Image | None:  # noqa: ARG002
        """Mount the image that is one file, with its records; None: it is none.

        Call it in the container's namespaces.  Raises SundogError.
        """
        return None

    def show_layers(self, storage: Storage) -> None:
        """Mount the layers of the image that are files; call it in the container's namespaces.

        Raises SundogError.
        """

    def bind(self, source: bytes, destination: bytes, *, writable: bool, is_own: bool) -> Bind:
        """Return the operation that shows ``source`` of the host at ``destination``."""
        return Bind(source, destination, CREATED, writable=writable, is_own=is_own)


def requested_binds(
    mounts: MountOptions, hidden: Hidden, sources: HostSources, warn: Callable[[str], None]
) -> Part:
    """Return the part of --bind; it warns of sources that are ``hidden`` from all others."""
    binds, own = checked_binds(mounts.binds, hidden.places, warn)
    return Part(
        [
            sources.bind(source, destination, writable=writable, is_own=source in own)
            for source, destination, writable in binds
        ]
    )
