"""Images by name in shared stores: ``ch-run`` runs the file that such a name stands for.

``request`` imports this module only for a name that is neither in the user's storage nor a path.
In the wheel it is in a joined module of its own.
"""

from __future__ import annotations

from sundog.base.configuration.stores import open_stores
from sundog.base.kernel.libc import printable
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.options import CommandLine


def use_shared_image(line: CommandLine, name: str, environment: Environment) -> None:
    """Replace the image of ``line`` by the file of the image ``name`` in a shared store, if any.

    Call it in the host's namespaces.  Raises SundogError.
    """
    messages = line.messages
    for store in open_stores(environment, line.image.stores, messages.warning):
        image = store.find(name)
        if image is not None:
            store.check_layers(image)
            if len(image.layers) != 1:
                raise StoreError(
                    f"{printable(image.path)} has {len(image.layers)} layers",
                    "this version of ch-run runs an image of one file; update Sundog",
                )
            messages.verbose(f"image in the shared store: {printable(image.path)}")
            line.operands[0] = image.layers[0]
            return
        store.close()
