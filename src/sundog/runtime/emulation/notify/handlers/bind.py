"""bind(2), which makes an inode if the name of a Unix socket is a path."""

from __future__ import annotations

import os

from sundog.base.cpython import AF_UNIX, Struct, byref
from sundog.base.kernel.files import Closing, close_all_but
from sundog.base.kernel.modes import PERMISSIONS, S_IFSOCK
from sundog.base.kernel.process import fork_below
from sundog.runtime.emulation.notify.handlers.ports import PortHandlers
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.creation import all_is_roots, birth_in
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.runtime.emulation.notify.tracee.descriptors import take_descriptor
from sundog.runtime.emulation.notify.tracee.memory import Buffer, quick_function
from sundog.runtime.emulation.notify.tracee.paths import CWD, is_place, located, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_FAMILY = Struct("=H")
_ADDRESS_LIMIT = 128  # sizeof(struct sockaddr_storage)


class BindHandlers:
    """Make sockets of other owners."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._access = Access(state)
        self._ports = PortHandlers(state)
        self._buffer = Buffer()
        self._bind = quick_function("bind")

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {"bind": self.bind}

    def bind(self, thread: int, args: Arguments) -> Answer:
        """int bind(int fd, const struct sockaddr *address, socklen_t size).

        The supervisor has the caller's socket bound, from the caller's working directory, because
        getsockname(2) must show the caller's name for the socket.
        """
        size = args[2] & U32
        if not _FAMILY.size < size <= _ADDRESS_LIMIT:
            return CONTINUE
        address = self._state.memory.read(thread, args[1], size)
        if _FAMILY.unpack_from(address)[0] != AF_UNIX:
            return self._ports.bind(thread, args[0], address)
        path = address[_FAMILY.size :].partition(b"\0")[0]
        if not path or all_is_roots(self._state, thread):
            return CONTINUE
        place = self._access.entry(thread, located(thread, CWD, path))
        who = self._access.user(thread)
        if who is not None:
            self._access.make_at(thread, who, place)
        if is_place(place):
            return CONTINUE
        birth = birth_in(self._state, thread, parent(place))
        if birth.is_plain():
            return CONTINUE
        with Closing(take_descriptor(self._state.abi, thread, args[0])) as taken:

            def make(_place: bytes, _mode: int) -> None:
                if self._bind_there(thread, taken, address):
                    raise OSError

            return birth.make(place, S_IFSOCK | PERMISSIONS, make)

    def _bind_there(self, thread: int, fd: int, address: bytes) -> int:
        """Bind ``fd`` in the working directory of ``thread``; return 0, or another number.

        The kernel takes a path and nothing else here.  So a child binds, to which no link in /proc
        gives anything but that socket, the caller's working directory and the caller's root.
        """
        memoryview(self._buffer).cast("B")[: len(address)] = address
        child = fork_below()
        if child == 0:
            result = -1
            try:
                os.chdir(b"%d/cwd" % thread)
                close_all_but((fd,))
                result = self._bind(fd, byref(self._buffer), len(address))
            finally:
                os._exit(result & 0xFF)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
