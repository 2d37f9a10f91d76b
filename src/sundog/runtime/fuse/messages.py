"""Messages between ``ch-run`` and its server of one-file images.

``ch-run`` sends DEVICE_MESSAGE with a device of FUSE that it has mounted: the number of the image,
the owner of all its files (uid, gid as the server sees them in the mount's user namespace), and a
flag: whether it wants the records of owners, or of layers, whether it is ``is_whole`` for
``layer_files``.  The server answers READY, with a descriptor of the records
if they are wanted; or FAILED and the reason, in UTF-8.
"""

from __future__ import annotations

from sundog.base.cpython import Struct

DEVICE_MESSAGE = Struct("=4I")
# In the place of an offset: the descriptor is that of the layers of a store.
LAYERS = -1
READY = b"ready"
FAILED = b"failed:"
