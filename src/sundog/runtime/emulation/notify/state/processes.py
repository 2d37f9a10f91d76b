"""Owners of the files of processes in /proc, and of the other files without a record.

On a real system the files in /proc/PID belong to the effective user and group of the process, or to
root if the process is not dumpable (proc(5)).  Here the kernel shows the only user of the
namespace, and the process's tag says who it is.  The tag is a resource limit, so the file
``limits`` beside the others shows it, whatever PID namespace the /proc is of.

Every other file without a record is root's.  The kernel shows the overflow ID (65534) for a user or
group of the host that the namespace does not map, and the host's root is one of them.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFDIR
from sundog.base.kernel.mounts import RESOLVE_NO_XDEV, openat2
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.files import Status, file_system_type
from sundog.runtime.emulation.notify.state.walk import LIMITS_SIZE, PROC_ROOT_INO, PROC_SUPER_MAGIC
from sundog.runtime.emulation.notify.tracee.tag import index_in, soft_limit_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.identity.tags import Tags

_NO_DEVICE = 0  # the device number of no file
_OPEN_DIRECTORY = S_IFDIR | 0o555  # always belongs to the process: fs/proc/base.c, task_dump_owner


class ProcessFiles:
    """Finds the owners of files that have no record.

    others      device numbers of file systems that are not a /proc: there each file is root's.
                Another file system can get a number later, so ``forget`` must be called as file
                systems come and go
    """

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self.others = {_NO_DEVICE}
        self._procs: set[int] = set()

    def forget(self) -> None:
        """Forget which file systems are a /proc."""
        self.others.clear()
        self.others.add(_NO_DEVICE)
        self._procs.clear()

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of a file without a record."""
        if len(self._tags.table) == 1 and status.device in self._procs:
            return 0, 0  # every process is root's
        who = self.identity(status)
        if who is None or not (who.dumpable or status.mode == _OPEN_DIRECTORY):
            return 0, 0
        return who.euid, who.egid

    def identity(self, status: Status) -> Credentials | None:
        """Return the identity of the process to which a file in a /proc belongs.

        Returns None if the file belongs to no process.
        """
        if status.device in self.others:
            return None
        try:
            with Closing(status.open()) as fd:
                if not self.is_proc(status.device, fd):
                    return None
                limits = _open_limits(os.readlink(b"self/fd/%d" % fd), status.device)
        except OSError:
            return None
        if limits < 0:
            return None
        with Closing(limits):
            return self._of(limits)

    def is_proc(self, device: int, fd: int) -> bool:
        """Tell whether ``device``, the file system of ``fd``, is a /proc."""
        if device in self.others:
            return False
        if device in self._procs:
            return True
        is_proc = file_system_type(fd) == PROC_SUPER_MAGIC
        (self._procs if is_proc else self.others).add(device)
        return is_proc

    def _of(self, limits: int) -> Credentials | None:
        """Return the identity of the process with the open file ``limits``; None if it ended."""
        try:
            text = os.read(limits, LIMITS_SIZE)
        except OSError:
            return None
        index = index_in(soft_limit_in(text))
        table = self._tags.table
        # A process outside the container may have the tag of another container.
        return table[index] if index < len(table) else table[0]


def _open_limits(path: bytes, device: int) -> int:
    """Open ``limits`` of the process to which the file ``path`` of a /proc belongs.

    Returns -1 if the file belongs to no process, or if something is mounted over ``limits``.
    ``device`` is the file system's device number.
    """
    parts = path.split(b"/")
    places = [
        (b"/".join(parts[:at]) or b"/", at) for at, part in enumerate(parts) if part.isdigit()
    ]
    if not places:
        return -1
    # The supervisor's own /proc is no part of the container, so ``path`` tells only the end of it.
    for root, at in (*places, (b".", places[0][1])):
        try:
            fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        with Closing(fd):
            if _is_root_of(fd, device):
                return _open_unhidden(fd, parts[at] + b"/limits")
    return -1


def _is_root_of(fd: int, device: int) -> bool:
    """Tell whether ``fd`` is the root directory of the /proc with the number ``device``."""
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino) == (device, PROC_ROOT_INO)


def _open_unhidden(root: int, path: bytes) -> int:
    """Open ``path`` below ``root`` for reading; return -1 if it is gone or a mount hides it.

    What is mounted there may be a FIFO, for whose writer the supervisor would wait.
    """
    try:
        return openat2(root, path, os.O_RDONLY, RESOLVE_NO_XDEV)
    except KernelError:
        return -1
