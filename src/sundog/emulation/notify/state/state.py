"""The state of one supervised container, which all handlers share."""

import os

from sundog.emulation.notify.state.files import Files, LibraryFiles, Status
from sundog.emulation.notify.state.processes import ProcessFiles
from sundog.emulation.notify.state.records import ANY_BIRTH, Record, Records
from sundog.emulation.notify.tracee.memory import Memory
from sundog.emulation.notify.tracee.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.identity.tags import Tags
    from sundog.emulation.notify.seccomp.listener import NotificationSource
    from sundog.emulation.notify.tracee.abi import NotifyAbi


class State:
    """What handlers ask and change.

    abi         the architecture's numbers and layouts
    listener    sends descriptors, and tells whether the caller is still alive
    memory, files, paths
                see those modules
    records     what the supervisor remembers about files
    processes   who owns the files of processes in /proc
    tags        the identities of processes
    """

    def __init__(self, abi: "NotifyAbi", listener: "NotificationSource", tags: "Tags") -> None:
        self.abi = abi
        self.listener = listener
        self.memory = Memory()
        self.files = Files(abi) if abi.has_stat else LibraryFiles(abi)
        self.paths = Paths(self.memory)
        self.records = Records()
        self.tags = tags
        self.processes = ProcessFiles(tags)
        self._own_files = b"/proc/%d/" % os.getpid()

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of the file that ``status`` describes.

        A file without a record is root's, whoever owns it on the host.
        """
        record = self.records.find(status)
        return (0, 0) if record is None else (record.uid, record.gid)

    def shown(self, status: Status) -> Record | None:
        """Return what stat(2) says of the file that ``status`` describes.

        Returns None if the kernel's own answer is right.
        """
        record = self.records.find(status)
        if record is not None:
            return record
        if status.is_below(self._own_files):
            return None  # only the supervisor itself may look there, so the kernel refuses
        owner = self.processes.owner(status)
        if owner == (status.uid, status.gid):
            return None
        return Record(status.device, ANY_BIRTH, *owner)
