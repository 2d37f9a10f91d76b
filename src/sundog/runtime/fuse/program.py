"""The server of one image that is one file, as a program of its own: ``given``.

In the wheel, this module is a joined module that needs no other.  SquashFS begins at once in what
it gets.
"""

from __future__ import annotations

import os

from sundog.runtime.fuse.files import ImageFiles
from sundog.runtime.fuse.given import given_descriptor, serve_given
from sundog.runtime.fuse.requests import serve_device
from sundog.runtime.squashfs.image import SquashfsImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.fuse.given import Service


def serve_one() -> None:
    """Be the server.  Never returns."""
    serve_given(given_descriptor, _opened_image)


def _opened_image(image: int, uid: int, gid: int) -> Service:
    """See ``serve_given``."""
    files = ImageFiles(SquashfsImage(image), uid, gid, os.fstat(image).st_size)
    return lambda device: serve_device(device, files.handlers)
