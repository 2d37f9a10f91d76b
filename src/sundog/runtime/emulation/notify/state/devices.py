"""The devices of the host that stand behind devices that were made in the container.

mknod(2) makes an empty file with a record.  To open that file for writing means to open the device.
The devices here exist on every host, and have the same numbers there; everybody may use them.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFCHR, S_IFMT
from sundog.base.kernel.mounts import RESOLVE_NO_SYMLINKS, openat2
from sundog.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.record import Record

# Linux, Documentation/admin-guide/devices.txt: "Memory devices".
_MEMORY_DEVICES = {
    os.makedev(1, 3): b"dev/null",
    os.makedev(1, 5): b"dev/zero",
    os.makedev(1, 7): b"dev/full",
    os.makedev(1, 8): b"dev/random",
    os.makedev(1, 9): b"dev/urandom",
}
_MAKING_FLAGS = os.O_CREAT | os.O_TRUNC | os.O_EXCL | os.O_NOFOLLOW


def open_device(record: Record, root: bytes, flags: int) -> int:
    """Open the device for which the file with ``record`` stands; return -1 if there is none here.

    ``root`` is the location of a root directory with the host's devices, ``flags`` are the caller's
    for open(2).
    """
    path = _MEMORY_DEVICES.get(record.rdev) if record.device_type == S_IFCHR else None
    if path is None:
        return -1
    try:
        with Closing(os.open(root or b"/", os.O_PATH | os.O_CLOEXEC)) as top:
            found = openat2(top, path, os.O_PATH | os.O_NOFOLLOW, RESOLVE_NO_SYMLINKS)
        with Closing(found):
            status = os.fstat(found)
            if (status.st_mode & S_IFMT, status.st_rdev) != (S_IFCHR, record.rdev):
                return -1  # the container has something else there, perhaps a FIFO
            flags = flags & ~_MAKING_FLAGS | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(b"self/fd/%d" % found, flags)
    except (OSError, KernelError):
        return -1
