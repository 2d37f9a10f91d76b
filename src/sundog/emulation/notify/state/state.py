"""The state of one supervised container, which all handlers share."""

from sundog.emulation.notify.state.files import Files, LibraryFiles, Status
from sundog.emulation.notify.state.records import Records
from sundog.emulation.notify.state.unanswered import Unanswered
from sundog.emulation.notify.tracee.memory import Memory
from sundog.emulation.notify.tracee.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.identity.tags import Tags
    from sundog.emulation.notify.seccomp.listener import NotificationSource
    from sundog.emulation.notify.state.files import Strangers
    from sundog.emulation.notify.state.records import Record
    from sundog.emulation.notify.tracee.abi import NotifyAbi


class State:
    """What handlers ask and change.

    abi         the architecture's numbers and layouts
    listener    sends descriptors, and tells whether the caller is still alive
    memory, files, paths
                see those modules
    records     what the supervisor remembers about files
    unanswered  the inodes whose makers have not heard that they are made
    tags        the identities of processes
    strangers   whose files without a record are; None: whose the kernel says
    strict      whether the filter notifies every open(2), so that all permissions count
    """

    def __init__(
        self,
        abi: "NotifyAbi",
        listener: "NotificationSource",
        tags: "Tags",
        *,
        records: Records | None = None,
        strangers: "Strangers | None" = None,
        strict: bool = False,
    ) -> None:
        self.abi = abi
        self.listener = listener
        self.memory = Memory()
        self.files = Files(abi, strangers) if abi.has_stat else LibraryFiles(abi, strangers)
        self.paths = Paths(self.memory)
        self.unanswered = Unanswered()
        self.records = Records() if records is None else records
        self.tags = tags
        self.strangers = strangers
        self.strict = strict

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of the file that ``status`` describes."""
        record = self.records.find(status)
        return (status.uid, status.gid) if record is None else (record.uid, record.gid)

    def shown(self, status: Status) -> "Record | None":
        """Return what stat(2) says of the file that ``status`` describes.

        Returns None if the kernel's own answer is right.
        """
        record = self.records.find(status)
        if record is None and self.strangers is not None and status.inode:
            return self.strangers.shown(status)
        return record
