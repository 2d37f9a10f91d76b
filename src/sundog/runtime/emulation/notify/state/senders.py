"""The identities that messages show of their senders: SCM_CREDENTIALS of unix(7).

The kernel knows one user and one group in the container.  What it tells of a sender is the number
of the process.  A message without credentials of its own shows the real IDs that the process has.
A process may name other IDs that it has, and a privileged one any: these are remembered by process,
and count until it names others or becomes somebody else.
"""

from __future__ import annotations

from sundog.runtime.emulation.notify.tracee.descriptors import process_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.identity.tags import Tags

_NAMED_LIMIT = 1 << 8


class Sender:
    """A process as a message names it.

    number      its number in the PID namespace of the process that named it; 0 if that is not known
    uid, gid    the IDs
    address     where the control data with the name are in the memory of the process that named it
    """

    __slots__ = ("address", "gid", "number", "uid")

    def __init__(self, number: int, uid: int, gid: int, address: int = 0) -> None:
        self.number = number
        self.uid = uid
        self.gid = gid
        self.address = address


class Senders:
    """Finds who sent a message, by the process that the kernel names.

    are_shown   whether a socket shows them
    """

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self.are_shown = False
        # By process: its start, who it was when it was named, and its name.
        self._named: dict[int, tuple[bytes, Credentials, Sender]] = {}

    def show(self) -> None:
        """Take note that a socket shows senders."""
        self.are_shown = True
        self._tags.remember_ended()

    def are_root(self) -> bool:
        """Tell whether every message comes from root, as the kernel says."""
        return not self._named and len(self._tags.table) == 1

    def name(self, process: int, sender: Sender) -> None:
        """Remember what the messages of ``process`` say of their sender."""
        self._named.pop(process, None)
        while len(self._named) >= _NAMED_LIMIT:
            del self._named[next(iter(self._named))]
        _, who = self._tags.find(process)
        self._named[process] = process_start(process), who, sender

    def named(self, process: int) -> Sender | None:
        """Return what the messages of ``process`` say of their sender, if they have said that."""
        found = self._named.get(process)
        if found is None:
            return None
        start, who, sender = found
        now = process_start(process)
        # What a process has sent may arrive after its end.
        if not now or (now == start and self._tags.find(process)[1] is who):
            return sender
        del self._named[process]
        return None

    def find(self, process: int) -> Sender | None:
        """Return the sender ``process`` of a message; None if it is root."""
        sender = self.named(process)
        if sender is not None:
            return sender
        number, who = self._tags.find(process)
        return None if who is self._tags.table[0] else Sender(number, who.ruid, who.rgid)
