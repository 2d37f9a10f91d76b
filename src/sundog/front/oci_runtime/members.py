"""The processes of a container, seen from outside: those in its namespaces."""

from __future__ import annotations

import os
import sys
from fcntl import ioctl

from sundog.base.kernel.files import Closing
from sundog.base.kernel.namespaces import NS_GET_MNTNS_ID
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.supervision.members import is_member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.oci_runtime.state import Container


def members(container: Container) -> list[int]:
    """Return the PIDs of the processes of a container.

    As long as its first process lives, they are those in its user namespace.  Afterwards they are
    those in its mount namespace, if the kernel tells its unique number: the number of a file in
    /proc/PID/ns may belong to another namespace by then.
    """
    process = container.process
    if process is None:
        return []
    with Closing(os.open("/proc", OPEN_DIRECTORY)) as proc:
        others = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        try:
            with Closing(process.open()):
                own = os.stat(f"/proc/{process.pid}/ns/user").st_ino
                return [pid for pid in others if is_member(proc, pid, own)]
        except OSError:
            pass  # it has ended
        if not container.mounts_id:
            return []
        return [pid for pid in others if mount_namespace_id(pid) == container.mounts_id]


def mount_namespace_id(pid: int) -> int:
    """Return the number of a process's mount namespace that no other one ever gets.

    Returns 0 if the kernel does not tell it.
    """
    try:
        with Closing(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return int.from_bytes(ioctl(fd, NS_GET_MNTNS_ID, bytes(8)), sys.byteorder)
    except OSError:
        return 0
