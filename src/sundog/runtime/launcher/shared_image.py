"""Images by name in shared stores: ``ch-run`` runs the file that such a name stands for.

``request`` imports this module only for a name that is neither in the user's storage nor a path.
In the wheel it is in a joined module of its own.
"""

from __future__ import annotations

from sundog.base.configuration.stores import SharedStores
from sundog.base.kernel.libc import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.options import CommandLine


def use_shared_image(line: CommandLine, name: str, environment: Environment) -> None:
    """Replace the image of ``line`` by the file of the image ``name`` in a shared store, if any.

    Call it in the host's namespaces.  Raises SundogError.
    """
    messages = line.messages
    image = SharedStores(environment, line.image.stores, messages.warning).find(name)
    if image is not None:
        messages.verbose(f"image in the shared store: {printable(image.path)}")
        line.operands[0] = image.file()
