"""The server of the layers of one store, as a program of its own: ``given``.

In the wheel, this module is a joined module that needs no other.  It gets the directory of the
layers.
"""

from __future__ import annotations

from sundog.runtime.fuse.concurrent import ConcurrentService
from sundog.runtime.fuse.given import serve_given
from sundog.runtime.fuse.layer_files import LayersFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def serve_layers() -> None:
    """Be the server.  Never returns."""
    serve_given(_opened_layers)


def _opened_layers(layers: int, uid: int, gid: int) -> Callable[[int], None]:
    """See ``serve_given``."""
    files = LayersFiles(layers, uid, gid)
    return lambda device: ConcurrentService(device, files.handlers).serve()
