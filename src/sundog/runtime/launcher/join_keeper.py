"""The keeper of a group of ``ch-run --join``: it hands the container's namespaces to each peer.

    first ch-run ──── the keeper, from the fork on ──── the sockets of later ch-run

The first ``ch-run`` of a group forks the keeper before it enters its namespaces.  So the keeper is
in the user namespace of the caller, and programs in the container can neither trace it nor open its
files: they have no capabilities over that namespace (ptrace(2), "Ptrace access mode checking").
It stays dumpable, because its peers must see in which user namespace it is.

The keeper holds descriptors of the namespaces, the listening socket, and a pidfd of each member.
It ends with the last member.  If it is killed, another process ends the container: ``ender``.
``sundog run -d`` waits for the first member.  If that process is killed, the keeper ends as if it
were killed, too.  If the first ``ch-run`` fails before its container is complete, the keeper ends;
the peers that wait see the end of their connections, and begin a new group.
"""

from __future__ import annotations

import os

from sundog.base.cpython import AF_UNIX, SIGKILL, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair
from sundog.base.kernel.descriptors import allow_descriptors, receive_message, send_message
from sundog.base.kernel.living_process import has_ended
from sundog.base.kernel.unix_peer import UnixPeer
from sundog.runtime.container.leaving import leave_caller
from sundog.runtime.launcher.orphan import fork_away

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.join_place import Lead

# Answers to a peer.  The image of the first ``ch-run`` follows PEER_ACCEPTED and PEER_SUPERVISED.
PEER_ACCEPTED = b"+"
PEER_SUPERVISED = b"*"  # as PEER_ACCEPTED, for a group with a supervisor
_PEER_REFUSED = b"-"
_LISTENING = b"!"  # to the first ``ch-run``
IMAGE_LIMIT = 4096  # bytes

_POLLIN = 1  # poll(2)
_BACKLOG = 4096  # the kernel may allow less: net.core.somaxconn
_NAMESPACES = 2  # descriptors from the first ``ch-run``; another one is the supervisor's channel
_SPARE_DESCRIPTORS = 16  # those of the keeper itself


def start_keeper(listener: socket, image: bytes, waiter: int, lead: Lead | None = None) -> socket:
    """Fork the keeper; return the connection by which it gets the namespaces, once it listens.

    ``listener`` is bound.  ``waiter`` is a pidfd of the process that waits for this one, or -1.
    This process has no use for the two afterwards, nor for the ``lead``.  The keeper is no child
    of this process, because the command could wait for all its children.  Raises OSError.
    """
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    member = os.pidfd_open(os.getpid())

    def keep() -> None:
        kept: tuple[int, ...] = () if lead is None else lead.descriptors()
        if waiter >= 0:
            kept = (*kept, waiter)
        leave_caller((listener.fileno(), theirs.fileno(), member, *kept), b"ch-run-keeper")
        keeper = _Keeper(listener, image)
        send_message(theirs, _LISTENING)
        keeper.keep(theirs, member, waiter)
        if lead is not None:
            lead.end()

    fork_away(keep)
    for fd in (member, theirs.detach(), listener.detach()):
        os.close(fd)
    if waiter >= 0:
        os.close(waiter)
    if lead is not None:
        lead.close()
    receive_message(ours, len(_LISTENING))
    return ours


class _Keeper:
    """The keeper of one group."""

    __slots__ = ("_answer", "_listener", "_members", "_namespace", "_namespaces", "_poll", "_room")

    def __init__(self, listener: socket, image: bytes) -> None:
        """Listen, so that peers can connect.  Raises OSError."""
        from select import poll  # only this process needs it

        self._answer = PEER_ACCEPTED + image[:IMAGE_LIMIT]
        self._listener = listener
        self._members: set[int] = set()
        self._namespace = os.stat(b"/proc/self/ns/user")
        self._namespaces: list[int] = []
        self._poll = poll()
        self._room = allow_descriptors() - _SPARE_DESCRIPTORS
        # From here on a peer can connect, and learns that it talks to this process: unix(7).
        listener.listen(_BACKLOG)
        listener.setblocking(False)

    def keep(self, first: socket, member: int, waiter: int) -> None:
        """Wait until the container is complete; then answer peers until the last member ends.

        A group with a supervisor is over, too, when the supervisor ends.
        The namespaces come by the connection ``first``, whose other end sees when this process
        ends; ``member`` is a pidfd of the process there, and ``waiter`` one of the process that
        waits for it, or -1.  Raises OSError.
        """
        _, self._namespaces = receive_message(first, 1)
        if not self._namespaces:
            return
        # Only this process needs it.
        from sundog.runtime.launcher.ender import start_group_ender

        ender = start_group_ender(self._namespaces[0])
        if self._answer_peers(member, waiter):
            os.kill(ender, SIGKILL)

    def _answer_peers(self, member: int, waiter: int) -> bool:
        """Answer peers until the group is over; return False if its container must end."""
        channel = -1
        if len(self._namespaces) > _NAMESPACES:
            channel = self._namespaces[-1]
            self._answer = PEER_SUPERVISED + self._answer[len(PEER_ACCEPTED) :]
            self._poll.register(channel, 0)  # tells that the supervisor has ended
        self._add(member)
        awaited = os.dup(member)
        if waiter >= 0:
            self._poll.register(waiter, _POLLIN)
        self._poll.register(self._listener.fileno(), _POLLIN)
        while self._members:
            has_room = len(self._members) < self._room
            self._poll.modify(self._listener.fileno(), _POLLIN if has_room else 0)
            for fd, _ in self._poll.poll():
                if fd == waiter:
                    if not has_ended(awaited):
                        return False
                    self._poll.unregister(waiter)
                elif fd in self._members:
                    self._remove(fd)
                elif fd == channel:
                    return True
            # Also after the end of the last member: a peer that connected before joins.
            while len(self._members) < self._room and self._admit():
                pass
        return True

    def _add(self, member: int) -> None:
        self._members.add(member)
        self._poll.register(member, _POLLIN)

    def _remove(self, member: int) -> None:
        self._poll.unregister(member)
        self._members.remove(member)
        os.close(member)

    def _admit(self) -> bool:
        """Answer the next peer; return False if there is none."""
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError:
            return True  # the peer has gone already
        connection = socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)
        try:
            peer = UnixPeer(connection)
            if peer.uid == os.geteuid() and peer.is_in(self._namespace):
                self._add(peer.pidfd)
                send_message(connection, self._answer, self._namespaces)
            else:
                if peer.pidfd >= 0:
                    os.close(peer.pidfd)
                send_message(connection, _PEER_REFUSED)
        except OSError:
            pass  # the peer has gone
        connection.close()
        return True
