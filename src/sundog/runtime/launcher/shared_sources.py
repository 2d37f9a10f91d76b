"""An image of a shared store: its layers are files, which ``ch-run`` mounts where they are.

``one_file`` imports this module only for such images.  In the wheel it is in a joined module of its
own.
"""

from __future__ import annotations

from sundog.base.record.layer_path import LAYER_TREE
from sundog.base.record.shared_image import SHARED_LAYERS
from sundog.runtime.container.root import OverlayRoot
from sundog.runtime.launcher.file_server import ServedSources
from sundog.runtime.launcher.image import Image
from sundog.runtime.launcher.storage import Storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.stores import SharedImage
    from sundog.runtime.launcher.options import CommandLine


class SharedSources(ServedSources):
    """A shared image, the sources of --bind that are one file, and the server of both."""

    __slots__ = ("_shared",)

    def __init__(
        self, shared: SharedImage, sources: list[bytes], line: CommandLine | None = None
    ) -> None:
        """Start the server: of the directory that was checked, whatever its path leads to now."""
        store = b"/proc/self/fd/%d" % shared.store.directory
        super().__init__(b"", sources, store, shared.stack.layers, line=line)
        self._shared = shared

    def open_image(self, *, with_records: bool) -> Image:  # noqa: ARG002 - owners has the records
        """See ``HostSources``."""
        stack = self._shared.stack
        store = Storage(self._shared.store.path, self._shared.store.directory)
        store.reopen()
        self.show_store(store)
        base = store.at(SHARED_LAYERS)
        root = OverlayRoot(base, [layer + LAYER_TREE for layer in stack.layers], mixed=True)
        return Image(
            root,
            stack.entrypoint + stack.command,
            stack.workdir or b"/",
            user=stack.user,
            layers=[base + b"/" + layer for layer in stack.layers],
            named=True,
            own_variables=True,
            guesses=stack.guesses,
        )
