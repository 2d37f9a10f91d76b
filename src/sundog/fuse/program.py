"""The server as a program of its own, for one image: the compiled ``ch-run`` starts it.

``ch-run`` has forked twice, and has started a new session.  It passes the numbers of two open
descriptors as arguments: the channel and the image, in which SquashFS begins at once.

In the wheel, this module is a joined module that needs no other.

Floor 0.
"""

import os
import sys

from sundog.fuse.channel import FAILED, Channel
from sundog.fuse.process import become_server
from sundog.fuse.server import ImageServer


def serve_one() -> None:
    """Be the server.  Never returns."""
    channel, image = map(int, sys.argv[2:4])
    try:
        become_server((channel, image))
        ImageServer(channel, [(image, 0)], is_single=True).run()
    except Exception as error:
        Channel(channel).send(FAILED + type(error).__name__.encode())
    finally:
        os._exit(1)
