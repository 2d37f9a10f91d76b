"""The calls of a group's commands, for one supervisor: each ``ch-run`` brings a listener.

A peer belongs to the group from its enlisting until no process of its command is left.  If a
``ch-run`` dies before, its processes are killed.  The group is over when it has no peer left.

``membership`` is the other side.
"""

from __future__ import annotations

import os
import sys
from select import EPOLLIN, epoll

from sundog.base.cpython import AF_UNIX, SOCK_SEQPACKET, socket
from sundog.base.kernel.descriptors import allow_descriptors, receive_message, send_message
from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource, wake_synchronously
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.tag import PEER_LIMIT
from sundog.runtime.supervision.members import kill_members
from sundog.runtime.supervision.membership import (
    COMMAND_LIMIT,
    ENLISTING,
    HAS_PAGE,
    NUMBER_SIZE,
    STRICT,
    pack_report,
)
from sundog.runtime.supervision.supervision import first_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.identity.tags import Tags

    # The reaction to a ready descriptor of a peer; the argument is the events of epoll(7).
    _Reaction = Callable[["_Peer", int], None]

_SUPERVISOR_FILES = 64  # descriptors of the supervisor itself


class _Peer:
    """One ``ch-run``.

    number      in the tags of its processes
    connection  see ``membership``
    process     a pidfd of the ``ch-run``
    listener    the listener of its command, -1 before the command starts
    """

    __slots__ = ("connection", "listener", "number", "process")

    def __init__(self, number: int, connection: socket, process: int) -> None:
        self.number = number
        self.connection = connection
        self.process = process
        self.listener = -1


class GroupSource(NotificationSource):
    """The listeners of a group."""

    def __init__(
        self,
        requests: socket,
        proc: int,
        tags: Tags,
        start_ender: Callable[[int, int], None],
        *,
        strict: bool,
        has_page: bool,
    ) -> None:
        """Listen for peers on ``requests``.  Raises OSError.

        ``proc`` is the /proc of the PID namespace of all peers, and the working directory when
        ``wait`` is called.  ``start_ender`` starts the ender of a peer, of which it gets a pidfd
        and the number.  ``strict`` and ``has_page`` are for the peers' filters.
        """
        super().__init__(-1, must_poll=True)
        self._room = min(PEER_LIMIT - 1, (allow_descriptors() - _SUPERVISOR_FILES) // 4)
        self._requests = requests
        self._proc = proc
        self._tags = tags
        self._start_ender = start_ender
        self._has_enders = False
        self._greeting = bytes([STRICT * strict | HAS_PAGE * has_page])
        self._peers: dict[int, _Peer] = {}
        self._leaving: list[_Peer] = []  # those whose last process has ended
        self._ready: list[_Peer] = []
        self._reactions: dict[int, tuple[_Reaction, _Peer]] = {}
        self._closing: list[int] = []
        self._is_open = True  # whether a process can still enlist
        self._may_begin = True  # whether a first peer may still come
        self._epoll = epoll()
        requests.setblocking(False)
        self._epoll.register(requests, EPOLLIN)

    def wait(self) -> bool:
        """Wait for a notification of any peer; return False if no peer is left."""
        while not self._ready:
            if not self._goes_on():
                return False
            is_asked = False
            for fd, events in self._epoll.poll():
                if fd == self._requests.fileno():
                    is_asked = True
                elif fd in self._reactions:
                    reaction, peer = self._reactions[fd]
                    reaction(peer, events)
            # A descriptor number may be used again only after the events about the old one.
            for fd in self._closing:
                os.close(fd)
            self._closing.clear()
            if is_asked:
                self._admit()
        self.fd = self._ready.pop().listener
        return True

    def has_ended(self) -> bool:
        """Return False: only ``wait`` tells that."""
        return False

    def before_mount(self) -> None:
        """Start the enders of all peers; from now on, each peer has one."""
        if not self._has_enders:
            self._has_enders = True
            for peer in self._peers.values():
                self._start_ender(peer.process, peer.number)

    def dismiss(self, status: int, lines: list[tuple[str, str]]) -> None:
        """Send the report of the supervisor to those whose last process has ended."""
        for peer in self._leaving:
            try:  # noqa: SIM105 - contextlib would cost a module
                send_message(peer.connection, pack_report(status, lines))
            except OSError:
                pass  # nobody is there
            peer.connection.close()
        self._leaving.clear()

    def _goes_on(self) -> bool:
        """Tell whether a peer is left or may come; let those go that nobody needs any more."""
        if not self._peers:
            if not self._may_begin:
                self._admit()  # a peer may have enlisted before the last one ended
            if not self._peers:
                return self._may_begin
        self.dismiss(0, [])
        return True

    def _admit(self) -> None:
        """Let the peers in that have enlisted."""
        while self._is_open:
            try:
                message, received = receive_message(self._requests, len(ENLISTING))
            except BlockingIOError:
                return
            if not message:
                self._epoll.unregister(self._requests)
                self._is_open = self._may_begin = False
            elif len(received) == 2 and len(self._peers) < self._room:
                self._add(*received)
            else:
                for fd in received:
                    os.close(fd)

    def _add(self, connection: int, process: int) -> None:
        number = next(number for number in range(1, PEER_LIMIT) if number not in self._peers)
        peer = _Peer(number, socket(AF_UNIX, SOCK_SEQPACKET, 0, connection), process)
        self._peers[number] = peer
        self._may_begin = False
        if self._has_enders:
            self._start_ender(process, number)
        self._watch(connection, self._take_listener, peer)
        self._watch(process, self._bury, peer)
        try:
            greeting = number.to_bytes(NUMBER_SIZE, sys.byteorder) + self._greeting
            send_message(peer.connection, greeting)
        except OSError:
            pass  # it has died, and its pidfd tells that

    def _take_listener(self, peer: _Peer, _: int) -> None:
        """Take the listener of a command that is about to start, and give it its identity."""
        self._forget(peer.connection.fileno())
        try:
            message, received = receive_message(peer.connection, COMMAND_LIMIT)
        except OSError:
            return
        if len(received) != 1:
            return  # the end of the connection
        (listener,) = received
        process, *ids = memoryview(message).cast("I")
        uid, gid, *groups = ids or (0, 0, 0)
        try:
            who = first_credentials(uid, gid, tuple(groups))
            is_known = self._tags.set(process, who, peer.number)
        except KernelAnswers:  # it has died
            is_known = False
        if not is_known:
            os.close(listener)
            return
        self.has_new = True
        wake_synchronously(listener)
        peer.listener = listener
        self._watch(listener, self._hear, peer)

    def _hear(self, peer: _Peer, events: int) -> None:
        """Note a call, or that no process of the peer is left."""
        if events & EPOLLIN:
            self._ready.append(peer)
            return
        self._remove(peer)
        self._leaving.append(peer)

    def _bury(self, peer: _Peer, _: int) -> None:
        """Kill the processes of a ``ch-run`` that has died."""
        self._forget(peer.process)
        kill_members(self._proc, {os.getpid()}, peer.number)
        if peer.listener < 0:
            self._remove(peer)
            self._closing.append(peer.connection.detach())

    def _remove(self, peer: _Peer) -> None:
        del self._peers[peer.number]
        for fd in (peer.connection.fileno(), peer.process, peer.listener):
            if fd in self._reactions:
                self._forget(fd)
        self._closing += [fd for fd in (peer.process, peer.listener) if fd >= 0]

    def _watch(self, fd: int, reaction: _Reaction, peer: _Peer) -> None:
        self._reactions[fd] = reaction, peer
        self._epoll.register(fd, EPOLLIN)

    def _forget(self, fd: int) -> None:
        self._epoll.unregister(fd)
        del self._reactions[fd]
