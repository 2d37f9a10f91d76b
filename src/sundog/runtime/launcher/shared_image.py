"""Look for an image by name in shared stores; ``shared_sources`` mounts it.

``request`` imports this module only for a name that is neither in the user's storage nor a path.
In the wheel it is in a joined module of its own.
"""

from __future__ import annotations

from sundog.base.configuration.stores import SharedStores, is_verified
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.holding import Holding
    from sundog.base.configuration.stores import SharedImage
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.storage import Storage


def find_shared(
    line: CommandLine,
    name: str,
    environment: Environment,
    holding: Holding,
    storage: Storage,
) -> SharedImage | None:
    """Return the image ``name`` of a shared store, if there is one.

    ``storage`` remembers what was verified.  Call it in the host's namespaces.  Raises SundogError.
    """
    messages = line.messages
    image = SharedStores(environment, line.image.stores, messages.warning, holding).find(name)
    if image is not None:
        messages.verbose(f"image in the shared store: {printable(image.path)}")
        if line.image.mount_point is not None:
            raise SundogError("--mount: not with an image of a shared store", "run it")
        image.check()
        if line.image.verify or is_verified(holding):
            from sundog.runtime.container.verified_layers import verify

            verify(image, storage.path if storage.is_private else None, messages.warning)
    return image
