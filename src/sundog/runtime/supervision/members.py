"""The processes of a container without a PID namespace: those in or below its user namespace."""

from __future__ import annotations

import errno
import os
from fcntl import ioctl

from sundog.base.cpython import SIGKILL
from sundog.base.kernel.namespaces import NS_GET_PARENT
from sundog.runtime.emulation.notify.tracee.tag import tag_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # its inode: PROC_USER_INIT_INO in linux/proc_ns.h


def kill_members(proc: int, spared: Collection[int], peer: int = 0, own: int = 0) -> None:
    """Kill the processes that ``find_members`` finds.

    They may fork meanwhile, so this repeats until a look at all processes finds none that is still
    alive.
    """
    killed: set[int] = set()
    while True:
        found = find_members(proc, spared, peer, own)
        if killed.issuperset(found):
            break
        for process in found:
            try:
                os.kill(process, SIGKILL)
            except ProcessLookupError:
                continue
        killed.update(found)


def find_members(proc: int, spared: Collection[int], peer: int = 0, own: int = 0) -> list[int]:
    """Return the processes in this process's user namespace, except those ``spared``.

    If ``peer`` is not 0, return only the supervised processes of this peer of a group.
    ``own`` is the inode of another user namespace that counts.  ``proc`` is the /proc of their PID
    namespace.
    """
    own = own or os.stat(b"self/ns/user", dir_fd=proc).st_ino
    if own == _INITIAL_USER_NAMESPACE:
        raise AssertionError("this process is in no container")  # all are members
    directory = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    names = os.listdir(directory)
    os.close(directory)
    return [
        int(name)
        for name in names
        if name.isdigit()
        and int(name) not in spared
        and is_member(proc, int(name), own)
        and (not peer or _is_of_peer(int(name), peer))
    ]


def is_member(proc: int, process: int, own: int) -> bool:
    """Tell whether ``process`` is in the user namespace of inode ``own``, or in one below it."""
    try:
        namespace = os.open(b"%d/ns/user" % process, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return False  # not this user's, or gone
    while os.fstat(namespace).st_ino != own:
        try:
            parent = ioctl(namespace, NS_GET_PARENT)
        except OSError as error:
            if error.errno != errno.EPERM:  # above this process's own namespace
                raise
            return False
        finally:
            os.close(namespace)
        namespace = parent
    os.close(namespace)
    return True


def _is_of_peer(process: int, peer: int) -> bool:
    """Tell whether the tag of ``process`` names ``peer``."""
    try:
        return tag_peer(process) == peer
    except OSError:
        return False  # gone
