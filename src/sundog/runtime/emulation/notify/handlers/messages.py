"""sendmsg(2), recvmsg(2) and their relatives: messages that say who sent them.

The kernel takes no IDs but those of the container's one user.  A sender that names others has them
replaced in its control data, and the kernel sends the message.  For a receiver that has asked for
credentials (SO_PASSCRED), the supervisor receives a message whose sender is not root.

A receiver that waits for a message in recvmsg(2) itself, and not in poll(2), gets the kernel's
answer: the supervisor can't wait in its place, because then no signal would end that.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_PEEK,
    SCM_RIGHTS,
    SO_DOMAIN,
    SO_TYPE,
    SOCK_STREAM,
    SOL_SOCKET,
    Struct,
)
from sundog.base.kernel.descriptors import INT_SIZE, descriptors_of
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import encode_text
from sundog.runtime.emulation.notify.handlers.ports import PortHandlers
from sundog.runtime.emulation.notify.identity.capabilities import (
    CAP_SETGID,
    CAP_SETUID,
    CAP_SYS_ADMIN,
)
from sundog.runtime.emulation.notify.identity.credentials import UNCHANGED
from sundog.runtime.emulation.notify.seccomp.listener import borrowed_socket
from sundog.runtime.emulation.notify.state.senders import Sender
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, Refused
from sundog.runtime.emulation.notify.tracee.descriptors import ids_seen_by, take_descriptor
from sundog.runtime.emulation.notify.tracee.memory import TRANSFER_LIMIT
from sundog.runtime.emulation.notify.tracee.messages import (
    CREDENTIALS,
    MESSAGE,
    SCM_CREDENTIALS,
    SCM_PIDFD,
)
from sundog.runtime.emulation.notify.tracee.processes import Process, Processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.cpython import socket
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler
    from sundog.runtime.emulation.notify.tracee.memory import Memory

    _Control = list[tuple[int, int, bytes]]  # level, type and data of each message

_MSG_OOB, _MSG_CTRUNC, _MSG_TRUNC, _MSG_ERRQUEUE = 0x1, 0x8, 0x20, 0x2000
_MSG_CMSG_CLOEXEC = 0x40000000
_DESCRIPTORS = (SCM_RIGHTS, SCM_PIDFD)
_FAMILY = Struct("=H")
_UINT = Struct("=I")
_MESSAGES_LIMIT = 1 << 10  # UIO_MAXIOV, also for vectors
_CONTROL_LIMIT = 1 << 17  # net.core.optmem_max
_CONTROL_ROOM = 1 << 13  # for 253 descriptors (SCM_MAX_FD), credentials and a security label
_CREDENTIALS_ROOM = len(MESSAGE.packed(SOL_SOCKET, SCM_CREDENTIALS, bytes(CREDENTIALS.size)))
_DATAGRAM_LIMIT = 1 << 24


class MessageHandlers:
    """Let messages name emulated IDs, and show these to receivers."""

    form = MESSAGE

    def __init__(self, state: State) -> None:
        self._state = state
        self._memory = state.memory
        self._senders = state.senders
        self._ports = PortHandlers(state)
        self._processes = Processes()
        self._pass_credentials = state.abi.pass_credentials

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "setsockopt": self.setsockopt,
            "sendmsg": self.sendmsg,
            "sendmmsg": self.sendmmsg,
            "recvmsg": self.recvmsg,
            "recvmmsg": self.recvmmsg,
        }

    def setsockopt(self, _thread: int, args: Arguments) -> Answer:
        """int setsockopt(int fd, int level, int option, const void *value, socklen_t size)."""
        if (args[1] & U32, args[2] & U32) == (SOL_SOCKET, self._pass_credentials):
            self._senders.show()
        return CONTINUE

    def sendmsg(self, thread: int, args: Arguments) -> Answer:
        """ssize_t sendmsg(int fd, const struct msghdr *message, int flags)."""
        form = self.form.header
        return self._send(
            thread, args[0], form.unpack(self._memory.read(thread, args[1], form.size))
        )

    def sendmmsg(self, thread: int, args: Arguments) -> Answer:
        """int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)."""
        form = self.form
        size = min(args[2] & U32, _MESSAGES_LIMIT) * form.stride
        messages = self._memory.read(thread, args[1], size)
        for at in range(0, size, form.stride):
            answer = self._send(thread, args[0], form.header.unpack_from(messages, at))
            if answer is not CONTINUE:
                return answer
        return CONTINUE

    def _send(self, thread: int, fd: int, header: tuple[int, ...]) -> Answer:
        """Look at the name and the control data of a message that ``fd`` sends.  Raises Refused."""
        name, name_size, _, _, address, size, _ = header
        if 0 < size <= _CONTROL_LIMIT:
            data = self._memory.read(thread, address, size)
            for at, length, level, kind in self.form.parsed(data):
                if (level, kind, length) == (SOL_SOCKET, SCM_CREDENTIALS, CREDENTIALS.size):
                    self._name(thread, address + at, *CREDENTIALS.unpack_from(data, at))
        if not name:
            return CONTINUE
        return self._ports.lead(thread, fd, name, name_size & U32, is_final=False)

    def _name(self, thread: int, address: int, pid: int, uid: int, gid: int) -> None:
        """Replace the credentials at ``address`` by those that the kernel takes.

        Raises Refused (net/core/scm.c, scm_check_creds).
        """
        kernels = os.getuid(), os.getgid()
        if UNCHANGED in (uid, gid) or ((uid, gid) == kernels and self._senders.are_root()):
            return
        who = self._state.tags.credentials(thread)
        own = Process(thread)
        is_own = pid == own.inner(own)
        if not _may_name(who, uid, gid) or not (is_own or who.can(CAP_SYS_ADMIN)):
            named = self._senders.named(own.group)
            if (uid, gid) == kernels and named is not None and named.address == address:
                return  # the program sends the same control data again
            raise Refused(errno.EPERM)
        process = own.group if is_own else self._processes.find(thread, pid)
        if not process:
            return
        if (uid, gid) != kernels:
            self._state.listener.confirm()
            if self._memory.write(thread, address, CREDENTIALS.pack(pid, *kernels)):
                return
        self._senders.name(process, Sender(pid, uid, gid, address))

    def recvmsg(self, thread: int, args: Arguments) -> Answer:
        """ssize_t recvmsg(int fd, struct msghdr *message, int flags)."""
        return self._receive(thread, args[0], args[1], args[2] & U32)

    def recvmmsg(self, thread: int, args: Arguments) -> Answer:
        """int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, ...).

        If the first message is not root's, the caller gets that one alone.
        """
        if not args[2] & U32:
            return CONTINUE
        length = self._receive(thread, args[0], args[1], args[3] & U32)
        if length is None or length < 0:
            return length
        return self._memory.write(thread, args[1] + self.form.header.size, _UINT.pack(length)) or 1

    def _receive(self, thread: int, fd: int, address: int, flags: int) -> Answer:
        """Receive a message whose sender is not root into the header at ``address``."""
        if (
            not self._senders.are_shown
            or self._senders.are_root()
            or flags & (_MSG_OOB | _MSG_ERRQUEUE)
        ):
            return CONTINUE
        form, unanswered = self.form, self._state.unanswered
        length = unanswered.take_message(thread, fd, address)
        if length is not None:
            return length
        header = form.header.unpack(self._memory.read(thread, address, form.header.size))
        if form.room(header[5]) < 0:
            return CONTINUE
        with (
            Closing(take_descriptor(self._state.abi, thread, fd)) as taken,
            borrowed_socket(taken) as connection,
        ):
            if not self._shows_senders(connection):
                return CONTINUE
            try:
                _, control, _, _ = connection.recvmsg(1, _CREDENTIALS_ROOM, MSG_DONTWAIT | MSG_PEEK)
            except BlockingIOError:
                is_patient = os.get_blocking(taken) and not flags & MSG_DONTWAIT
                return CONTINUE if is_patient else -errno.EAGAIN
            except OSError as error:
                return -(error.errno or errno.EIO)
            if self._sender(control) is None:
                return CONTINUE
            answer = self._deliver(thread, connection, address, header, flags)
        if answer is not None and answer >= 0:
            unanswered.note_message(self._state.listener.cookie, thread, fd, address, answer)
        return answer

    def _shows_senders(self, connection: socket) -> bool:
        """Tell whether ``connection`` is a Unix socket with SO_PASSCRED."""
        try:
            domain = connection.getsockopt(SOL_SOCKET, SO_DOMAIN)
            shows = connection.getsockopt(SOL_SOCKET, self._pass_credentials)
        except OSError:
            return False
        return domain == AF_UNIX and bool(shows)

    def _sender(self, control: _Control) -> Sender | None:
        """Return the sender that ``control`` data name by process; None: what they say is right."""
        for level, kind, data in control:
            if (level, kind, len(data)) == (SOL_SOCKET, SCM_CREDENTIALS, CREDENTIALS.size):
                process, _, _ = CREDENTIALS.unpack(data)
                return self._senders.find(process) if process else None
        return None

    def _deliver(
        self, thread: int, connection: socket, address: int, header: tuple[int, ...], flags: int
    ) -> Answer:
        """Receive a message from ``connection``, and write it where ``header`` says."""
        name, name_size, vector, count, control, room, _ = header
        if count > _MESSAGES_LIMIT:
            return CONTINUE
        form, memory = self.form, self._memory
        parts = memory.read(thread, vector, count * form.vector.size)
        vectors = list(form.vector.iter_unpack(parts))
        is_stream = connection.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_STREAM
        limit = TRANSFER_LIMIT if is_stream else _DATAGRAM_LIMIT
        size = min(sum(length for _, length in vectors), limit)
        self._state.listener.confirm()
        length = 0
        kept = flags & (MSG_PEEK | _MSG_CMSG_CLOEXEC)
        try:
            if flags & _MSG_TRUNC and not is_stream:
                length = connection.recv_into(bytearray(1), 1, _MSG_TRUNC | MSG_DONTWAIT | MSG_PEEK)
            data, found, told, origin = connection.recvmsg(size, _CONTROL_ROOM, MSG_DONTWAIT | kept)
        except OSError:
            return CONTINUE  # another process was faster
        received = descriptors_of(found)
        try:
            packed, is_cut = self._packed(thread, found, room, flags)
        finally:
            for fd in received:
                os.close(fd)
        source = _packed_name(origin)
        failed = _scattered(memory, thread, vectors, data) or memory.write(thread, control, packed)
        if name:
            failed = failed or memory.write(thread, name, source[:name_size])
            name_size = len(source)
        told |= _MSG_CTRUNC if is_cut else 0
        answered = form.header.pack(name, name_size, vector, count, control, len(packed), told)
        return failed or memory.write(thread, address, answered) or max(length, len(data))

    def _packed(self, thread: int, control: _Control, room: int, flags: int) -> tuple[bytes, bool]:
        """Return ``control`` data for the caller, at most ``room`` bytes, and whether some is cut.

        The caller gets the descriptors.
        """
        form = self.form
        sender = self._sender(control)
        packed, is_cut = b"", False
        for level, kind, data in control:
            left = form.room(room - len(packed))
            if left < 0:
                return packed, True
            shown = data
            if (level, kind) == (SOL_SOCKET, SCM_CREDENTIALS):
                shown = _shown_credentials(thread, data, sender)
            elif level == SOL_SOCKET and kind in _DESCRIPTORS:
                shown = self._given(data[:left], flags)
            is_cut |= min(len(shown), left) < len(data)
            if shown:
                packed = (packed + form.packed(level, kind, shown[:left]))[:room]
        return packed, is_cut

    def _given(self, data: bytes, flags: int) -> bytes:
        """Give the caller the descriptors in ``data``; return their numbers there."""
        flag = os.O_CLOEXEC if flags & _MSG_CMSG_CLOEXEC else 0
        numbers = b""
        for at in range(0, len(data) - INT_SIZE + 1, INT_SIZE):
            (fd,) = _UINT.unpack_from(data, at)
            number = self._state.listener.add_descriptor(fd, flag)
            if number < 0:
                break
            numbers += _UINT.pack(number)
        return numbers


def _may_name(who: Credentials, uid: int, gid: int) -> bool:
    """Tell whether ``who`` may name these IDs as its own."""
    return (uid in (who.ruid, who.euid, who.suid) or who.can(CAP_SETUID)) and (
        gid in (who.rgid, who.egid, who.sgid) or who.can(CAP_SETGID)
    )


def _shown_credentials(thread: int, data: bytes, sender: Sender | None) -> bytes:
    """Return the kernel's credentials in ``data`` as ``thread`` sees them."""
    process, uid, gid = CREDENTIALS.unpack(data)
    number = ids_seen_by(thread)(process) if process else 0
    if sender is None:
        return CREDENTIALS.pack(number, uid, gid)
    return CREDENTIALS.pack(number or sender.number, sender.uid, sender.gid)


def _scattered(memory: Memory, thread: int, vectors: list[tuple[int, ...]], data: bytes) -> int:
    """Write ``data`` to the places of ``vectors``; return 0 or -EFAULT."""
    left = memoryview(data)
    for address, size in vectors:
        if failed := memory.write(thread, address, bytes(left[:size])):
            return failed
        left = left[size:]
    return 0


def _packed_name(origin: object) -> bytes:
    """Return the struct sockaddr_un of a name as Python has it; nothing for a socket without."""
    if isinstance(origin, str) and origin:
        return _FAMILY.pack(AF_UNIX) + encode_text(origin) + b"\0"
    if isinstance(origin, bytes):
        return _FAMILY.pack(AF_UNIX) + origin
    return b""
