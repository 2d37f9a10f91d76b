"""What all handlers share: the state of one supervised container."""

from sundog.emulation.notify.files import Files, Status
from sundog.emulation.notify.memory import Memory
from sundog.emulation.notify.paths import U32, Paths
from sundog.emulation.notify.records import Records
from sundog.emulation.notify.tags import Tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.emulation.notify.abi import NotifyAbi
    from sundog.emulation.notify.credentials import Credentials
    from sundog.emulation.notify.listener import Answer, Listener

    # The six arguments of a call, 64 bits each, unsigned.
    Arguments = tuple[int, ...]
    # Called with the caller's thread ID.
    Handler = Callable[[int, Arguments], Answer]


class State:
    """What handlers ask and change.

    abi         the architecture's numbers and layouts
    listener    sends descriptors, and tells whether the caller is still there
    memory, files, paths
                see those modules
    records     what is known about files
    tags        what is known about processes
    """

    def __init__(self, abi: "NotifyAbi", listener: "Listener", root: "Credentials") -> None:
        self.abi = abi
        self.listener = listener
        self.memory = Memory()
        self.files = Files(abi)
        self.paths = Paths(self.memory)
        self.records = Records()
        self.tags = Tags(root)

    def owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of the file that ``status`` describes."""
        record = self.records.find(status)
        return (status.uid, status.gid) if record is None else (record.uid, record.gid)


def signed(register: int) -> int:
    """Return the C ``int`` in the low half of ``register``."""
    value = register & U32
    return value - (1 << 32) if value >> 31 else value
