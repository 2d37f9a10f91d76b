"""The state of one supervised container, which all handlers share."""

from sundog.emulation.notify.state.files import Files, LibraryFiles, Status
from sundog.emulation.notify.state.records import Records
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

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of the file that ``status`` describes."""
        record = self.records.find(status)
        return (status.uid, status.gid) if record is None else (record.uid, record.gid)
