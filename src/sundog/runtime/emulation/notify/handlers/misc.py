"""Calls at the edges of the emulation: other roots, and peers of sockets."""

from __future__ import annotations

import errno

from sundog.base.cpython import SO_PEERCRED, SOL_SOCKET, Struct, byref
from sundog.base.kernel.files import Closing
from sundog.base.kernel.namespaces import CLONE_NEWUSER
from sundog.runtime.emulation.notify.identity.capabilities import CAP_SYS_CHROOT
from sundog.runtime.emulation.notify.seccomp.program import SO_PEERGROUPS
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.runtime.emulation.notify.tracee.descriptors import status_field, take_descriptor
from sundog.runtime.emulation.notify.tracee.memory import Buffer, quick_function
from sundog.runtime.emulation.notify.tracee.messages import CREDENTIALS
from sundog.runtime.emulation.notify.tracee.paths import CWD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_UINT = Struct("=I")


class MiscellaneousHandlers:
    """Follow tracees to other roots, and tell who the peer of a socket is."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = Buffer()
        self._getsockopt = quick_function("getsockopt")

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "chroot": self.chroot,
            "pivot_root": self.other_root,
            "unshare": self.unshare,
            "setns": self.other_root,
            "clone": self.clone,
            "umount2": self.umount2,
            "getsockopt": self.getsockopt,
        }

    def chroot(self, thread: int, args: Arguments) -> Answer:
        """int chroot(const char *path)."""
        if not self._state.tags.credentials(thread).can(CAP_SYS_CHROOT):
            # Errors of the path come before EPERM.
            self._state.lookup.file(thread, self._state.paths.named(thread, CWD, args[0]) + b"/.")
            return -errno.EPERM
        return self.other_root(thread, args)

    def other_root(self, _thread: int, _args: Arguments) -> Answer:
        """Note that from now on a tracee may have another root."""
        self._state.paths.elsewhere = True
        return CONTINUE

    def unshare(self, thread: int, args: Arguments) -> Answer:
        """int unshare(int flags)."""
        if args[0] & CLONE_NEWUSER:
            self._state.user_namespaces.begin()
        return self.other_root(thread, args)

    def clone(self, thread: int, args: Arguments) -> Answer:
        """long clone(unsigned long flags, ...)."""
        return self.unshare(thread, args[self._state.abi.clone_flags :])

    def umount2(self, _thread: int, _args: Arguments) -> Answer:
        """int umount2(const char *target, int flags)."""
        self._state.records.nursery.empty()
        self._state.processes.forget()
        return CONTINUE

    def getsockopt(self, thread: int, args: Arguments) -> Answer:
        """int getsockopt(int fd, int level, int option, void *value, socklen_t *size).

        Of SO_PEERCRED and SO_PEERGROUPS, the answer is who the peer is now.  The kernel would tell
        who the peer was when it connected or listened.
        """
        level, option = args[1] & U32, args[2] & U32
        # socketcall(2) is notified for all options.
        if level != SOL_SOCKET or option not in (self._state.abi.peer_credentials, SO_PEERGROUPS):
            return CONTINUE
        with Closing(take_descriptor(self._state.abi, thread, args[0])) as taken:
            peer = self._peer(taken)
        if peer <= 0:
            return CONTINUE
        index = self._state.tags.index(peer)
        if index == 0:
            return CONTINUE
        who = self._state.tags.table[index]
        if option == SO_PEERGROUPS:
            value = b"".join(map(_UINT.pack, who.groups))
        else:
            value = CREDENTIALS.pack(self._inner_peer(thread, peer), who.euid, who.egid)
        return self._write_option(thread, args[3], args[4], value, whole=option == SO_PEERGROUPS)

    def _peer(self, fd: int) -> int:
        """Return the process at the other end of the socket ``fd``, 0 if no process is there."""
        _UINT.pack_into(self._buffer, CREDENTIALS.size, CREDENTIALS.size)
        value, size = byref(self._buffer), byref(self._buffer, CREDENTIALS.size)
        if self._getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, size):
            return 0
        peer: int
        peer, _, _ = CREDENTIALS.unpack_from(self._buffer)
        return peer

    def _inner_peer(self, thread: int, peer: int) -> int:
        """Return the ID by which ``thread`` sees the process ``peer``, 0 if it can't see it."""
        depth = len(status_field(thread, b"NSpid").split())
        ids = status_field(peer, b"NSpid").split()
        return int(ids[depth - 1]) if len(ids) >= depth else 0

    def _write_option(
        self, thread: int, address: int, size_address: int, value: bytes, *, whole: bool
    ) -> Answer:
        """Write the value and the size of an option; do not cut a value that must be ``whole``."""
        memory = self._state.memory
        (size,) = _UINT.unpack(memory.read(thread, size_address, _UINT.size))
        if size >> 31:
            return -errno.EINVAL
        answer = 0
        if whole and size < len(value):
            answer = -errno.ERANGE
        else:
            value = value[:size]
            if memory.write(thread, address, value):
                return -errno.EFAULT
        return memory.write(thread, size_address, _UINT.pack(len(value))) or answer
