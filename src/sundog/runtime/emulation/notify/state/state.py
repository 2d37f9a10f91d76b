"""The state of one supervised container, which all handlers share."""

from __future__ import annotations

from sundog.runtime.emulation.notify.state.files import Files, LibraryFiles, Status
from sundog.runtime.emulation.notify.state.lookup import Lookup
from sundog.runtime.emulation.notify.state.processes import ProcessFiles
from sundog.runtime.emulation.notify.state.record import ANY_BIRTH, Record
from sundog.runtime.emulation.notify.state.records import Records
from sundog.runtime.emulation.notify.state.refusals import Refusals
from sundog.runtime.emulation.notify.state.senders import Senders
from sundog.runtime.emulation.notify.state.served import Served
from sundog.runtime.emulation.notify.state.sysv import SysvObjects
from sundog.runtime.emulation.notify.state.unanswered import Unanswered
from sundog.runtime.emulation.notify.state.user_namespaces import UserNamespaces
from sundog.runtime.emulation.notify.state.volumes import Volumes
from sundog.runtime.emulation.notify.tracee.memory import Memory
from sundog.runtime.emulation.notify.tracee.paths import Paths
from sundog.runtime.emulation.notify.tracee.secure_start import SecureStarts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.emulation.notify.identity.tags import Tags
    from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource
    from sundog.runtime.emulation.notify.state.guesses import OwnerGuesses
    from sundog.runtime.emulation.notify.state.low_ports import LowPorts
    from sundog.runtime.emulation.notify.state.page import SharedPage
    from sundog.runtime.emulation.notify.state.unrecorded_owners import AllIsReal
    from sundog.runtime.emulation.notify.state.volumes import VolumePlace
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi


class State:
    """The state that handlers read and change.

    abi         the architecture's numbers and layouts
    listener    sends descriptors, and tells whether the caller is still alive
    memory, files, paths, lookup, served, user_namespaces
                see those modules
    records     what the supervisor remembers about files
    processes   the owners of the files of processes in /proc
    unanswered  calls that were done, and have not returned yet
    sysv        the objects of System V IPC
    tags        the identities of processes
    senders     the identities that messages show
    unrecorded_owners
                the owners of files without a record; None: root
    volumes     the owners of the caller's files on volumes; None: root
    refusals    what the kernel refused to an emulated root
    guesses     files of the image whose owners nobody saw; None: there are none
    low_ports   the ports below 1024; None: they are those of the host
    secure_starts
                tells programs that they start with other IDs
    strict      whether the filter notifies every open(2), so that all permissions count
    page        what the fast path of the tracees reads; None: they have none.  Not with ``strict``,
                ``records`` or ``unrecorded_owners``

    ``places`` are those of volumes; ``owner`` is the user and the group of the container's start.
    """

    def __init__(
        self,
        abi: NotifyAbi,
        listener: NotificationSource,
        tags: Tags,
        *,
        records: Records | None = None,
        unrecorded_owners: AllIsReal | None = None,
        places: Sequence[VolumePlace] = (),
        owner: tuple[int, int] = (0, 0),
        guesses: OwnerGuesses | None = None,
        low_ports: LowPorts | None = None,
        strict: bool = False,
        page: SharedPage | None = None,
    ) -> None:
        self.abi = abi
        self.listener = listener
        self.memory = Memory()
        self.files = (
            Files(abi, unrecorded_owners) if abi.has_stat else LibraryFiles(abi, unrecorded_owners)
        )
        self.paths = Paths(self.memory)
        self.secure_starts = SecureStarts(self.memory)
        self.served = Served(self.files, self.paths, self.memory)
        self.unanswered = Unanswered()
        self.volumes = None
        if places and owner != (0, 0):
            self.volumes = Volumes(self.files, places, *owner)
        # On a volume, files without a record have other owners: the supervisor has to answer.
        self.page = page if self.volumes is None else None
        self.user_namespaces = UserNamespaces(self.page)
        if records is None:
            all_is_roots = unrecorded_owners is None
            records = Records(all_is_roots=all_is_roots, volumes=self.volumes, page=self.page)
        self.records = records
        self.sysv = SysvObjects(abi)
        self.tags = tags
        self.senders = Senders(tags)
        self.unrecorded_owners = unrecorded_owners
        self.refusals = Refusals()
        self.guesses = guesses
        self.low_ports = low_ports
        self.strict = strict
        self.processes = ProcessFiles(tags)
        self.lookup = Lookup(self.files, self.processes.is_proc)

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of the file that ``status`` describes.

        A file without a record is root's, whoever owns it on the host, unless ``volumes`` or
        ``unrecorded_owners`` know.
        """
        record = self.records.find(status)
        if record is not None:
            return record.uid, record.gid
        return self.records.unrecorded_owner(status)

    def shown(self, status: Status) -> Record | None:
        """Return what stat(2) says of the file that ``status`` describes.

        Returns None if the kernel's own answer is right.
        """
        record = self.records.show(status)
        if record is not None:
            return record
        if self.unrecorded_owners is not None and status.inode:
            return self.unrecorded_owners.shown(status)
        owner = None if self.volumes is None else self.volumes.owner(status)
        if owner is None:
            owner = self.processes.owner(status)
        if owner == (status.uid, status.gid):
            return None
        return Record(status.device, ANY_BIRTH, *owner)
