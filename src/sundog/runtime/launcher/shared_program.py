"""Look for an image in shared stores, and serve its layers: the compiled ``ch-run`` starts this.

In the wheel, this module is a joined module that needs no other.  Its arguments are those of
``fuse.given``, then the image, and the stores of ``--image-store``.  So whom to believe is decided
by one program, in the host's namespaces.  It tells ``ch-run`` where the image is: the path of the
store, its device and its inode, and the stack.  With nothing to tell, or if there is something to
warn of, it ends, and the launcher in Python looks again.
"""

from __future__ import annotations

import os
import sys
from posix import environ

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.stores import SharedStores, is_verified
from sundog.base.kernel.libc import encode_text
from sundog.base.record.names import canonical_name
from sundog.base.record.shared_image import SHARED_LAYERS
from sundog.base.record.stack import pack_stack
from sundog.errors import SundogError
from sundog.runtime.container.paths import absolute
from sundog.runtime.fuse.given import serve_given
from sundog.runtime.fuse.layer_program import opened_layers


def serve_shared() -> None:
    """Be the server.  Never returns."""
    serve_given(_found_layers, opened_layers)


def _found_layers(channel: int) -> int:
    """Find the image, and tell ``ch-run``; return the layers of its store.  Raises SundogError."""
    word, *named = map(encode_text, sys.argv[4:])
    holding = read_configuration(environ)
    if holding.warnings or is_verified(holding):
        raise SundogError("a start for Python")
    stores = SharedStores(environ, [*map(absolute, named)], _refuse, holding)
    image = stores.find(canonical_name(word.decode("ascii")))
    if image is None:
        raise SundogError("no such image")
    image.check()
    store = image.store
    status = os.fstat(store.directory)
    place = (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    fields = [store.path, *(b"%d" % number for number in place), pack_stack(image.stack)]
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    layers = os.open(SHARED_LAYERS, flags, dir_fd=store.directory)
    os.write(channel, b"\0".join(fields))
    return layers


def _refuse(text: str) -> None:
    """Leave a warning to the launcher in Python."""
    raise SundogError(text)
