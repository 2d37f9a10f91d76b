"""The owner of the caller's files on volumes: the user with whom the container starts.

A volume is a directory or a file of the host that the caller shows the container (--bind).  The
kernel shows the caller's own files there as root's, as all that the namespace maps.  If the
container starts as another user, such a file belongs to that user and group, unless it has a
record.  So the user can write to the volume, and what the user makes there needs no record.

The mount tells whether a file is on a volume, and not the device number: the image, or another
mount, may be on the same file system.  Mounts that the source of a volume brings along count, too.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.files import Status, file_system_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sundog.runtime.emulation.notify.state.files import Files

    # The path of a volume in the container, and whether also files of others are the user's.
    VolumePlace = tuple[bytes, bool]

_OVERLAY_SUPER_MAGIC = 0x794C7630  # linux/magic.h
# File systems in which the kernel gives files to processes.
_OF_PROCESSES = frozenset((b"proc", b"devpts", b"mqueue"))
_SELF_MOUNTINFO = b"self/mountinfo"


class Volumes:
    """The volumes of a container, and the user and the group to whom the files on them belong.

    root_device
            the device number of the root if no other mount can have it, else -1
    """

    __slots__ = ("_gid", "_mounts", "_uid", "root_device")

    def __init__(self, files: Files, places: Iterable[VolumePlace], uid: int, gid: int) -> None:
        """Find the mounts at ``places``; call it in the container.  The working directory is /proc.

        Raises OSError.
        """
        self._uid = uid
        self._gid = gid
        self._mounts: dict[int, bool] = {}
        with Closing(os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            is_overlay = file_system_type(root) == _OVERLAY_SUPER_MAGIC
            self.root_device = os.fstat(root).st_dev if is_overlay else -1
            for path, takes_all in places:
                number = _volume_at(files, root, path)
                if number:
                    self._mounts[number] = takes_all
        self._add_below(_mounted_below())

    def _add_below(self, mounts: Sequence[tuple[int, int]]) -> None:
        """Add the mounts on those of the volumes.

        ``mounts`` are pairs of the number of a mount, and that of the one below.
        """
        count = -1
        while count != len(self._mounts):
            count = len(self._mounts)
            for number, below in mounts:
                if below in self._mounts:
                    self._mounts.setdefault(number, self._mounts[below])

    def may_have(self, device: int) -> bool:
        """Tell whether a file with the device number ``device`` may be on a volume."""
        return device != self.root_device

    def owner(self, status: Status) -> tuple[int, int] | None:
        """Return user and group of a file on a volume that has no record; None for other files."""
        if not status.inode or status.device == self.root_device:
            return None
        takes_all = self._mounts.get(status.mount())
        if takes_all is None or (status.kernel_uid != 0 and not takes_all):
            return None
        return self._uid, self._gid


def _volume_at(files: Files, root: int, path: bytes) -> int:
    """Return the number of the mount whose root directory, or file, is at ``path``; 0 for none.

    Symbolic links count as when the mount was attached.
    """
    try:
        fd = openat2(root, path, os.O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except KernelError:
        return 0  # the mount was optional
    with Closing(fd):
        number = files.mount_number(b"self/fd/%d" % fd, follow=True)
        return number if files.found_mount else 0


def _mounted_below() -> list[tuple[int, int]]:
    """Return the numbers of all mounts, each with that of the mount below it: proc(5), mountinfo.

    Leaves out those in which the kernel gives files to processes.
    """
    found = []
    with open(_SELF_MOUNTINFO, "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            number, below, _ = before.split(b" ", 2)
            if after.partition(b" ")[0] not in _OF_PROCESSES:
                found.append((int(number), int(below)))
    return found
