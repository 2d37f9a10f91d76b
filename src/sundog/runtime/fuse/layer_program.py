"""The server of the layers of one store, as a program of its own: ``given``.

In the wheel, this module is a joined module that needs no other.  It gets the directory of the
layers.
"""

from __future__ import annotations

import os

from sundog.runtime.fuse.concurrent import ConcurrentService
from sundog.runtime.fuse.given import given_descriptor, serve_given
from sundog.runtime.fuse.layer_files import LayersFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.fuse.given import Service


def serve_layers() -> None:
    """Be the server.  Never returns."""
    serve_given(given_descriptor, opened_layers)


def opened_layers(layers: int, uid: int, gid: int) -> Service:
    """See ``serve_given``."""
    files = LayersFiles(layers, uid, gid, is_whole=True)
    return lambda device: ConcurrentService(device, files.handlers, _end).serve()


def _end() -> None:
    os._exit(0)
