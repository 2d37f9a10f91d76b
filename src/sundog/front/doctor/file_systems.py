"""File systems of clusters, known by the number that statfs(2) gives, and what is best there.

Specification: statfs(2), linux/magic.h; Lustre, GPFS and BeeGFS define their numbers themselves.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.runtime.emulation.notify.state.files import file_system_type

_KEEP_LOCAL = (
    "keep images on a local disk (--storage or $CH_IMAGE_STORAGE), and give one SquashFS file to "
    "the nodes: ch-convert IMAGE FILE.sqfs"
)
_LOCKS = "locks work if it is mounted with -o flock"
# f_type, without a sign: name, and what to know.
NETWORK = {
    0x00006969: ("NFS", "overlays can't write there"),
    0x0BD00BD0: ("Lustre", f"many small files are slow; {_LOCKS}"),
    0x47504653: ("GPFS", "many small files are slow; overlays may not write there"),
    0x19830326: ("BeeGFS", "many small files are slow"),
    0x00C36400: ("CephFS", "many small files are slow"),
    0xAAD7AAEA: ("PanFS", "many small files are slow"),
    0x20030528: ("OrangeFS", "it has no locks"),
    0x5346414F: ("AFS", "a job may lose its token"),
    0xFF534D42: ("CIFS", "it keeps neither modes nor links"),
    0xFE534D42: ("SMB", "it keeps neither modes nor links"),
    0x01021997: ("9p", "overlays may not write there"),
    0x65735546: ("FUSE", "each call goes through a program"),
}


def network_file_system(path: bytes) -> tuple[str, str]:
    """Return the name of the network file system that has ``path``, and advice; "" if it has none.

    Raises OSError.
    """
    with Closing(os.open(path, os.O_PATH | os.O_CLOEXEC)) as fd:
        number = file_system_type(fd) & 0xFFFFFFFF
    if number not in NETWORK:
        return "", ""
    name, fact = NETWORK[number]
    return f"{name}: {fact}", _KEEP_LOCAL
