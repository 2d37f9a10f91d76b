"""The calls of a group's commands, for one supervisor: each ``ch-run`` brings a listener.

A peer belongs to the group from its enlisting until no process of its command is left.  If a
``ch-run`` dies before, its processes are killed.  The group is over when it has no peer left.

A ``ch-run`` and its ender kill what has the peer's number, and may still be about to do so when the
peer has gone.  So another peer gets the number only after their end.

``membership`` is the other side.
"""

from __future__ import annotations

import os
import sys
from select import EPOLLIN, POLLIN, epoll, poll

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
_ENLISTED = 3  # descriptors in the message of a peer


class _Peer:
    """One ``ch-run``.

    number      in the tags of its processes
    connection  see ``membership``, as for ``command``
    process     a pidfd of the ``ch-run``
    ender       a pidfd of its ender, or -1
    listener    the listener of its command, -1 before the command starts
    """

    __slots__ = ("command", "connection", "ender", "listener", "number", "process")

    def __init__(self, number: int, connection: int, command: int, process: int) -> None:
        self.number = number
        self.connection = socket(AF_UNIX, SOCK_SEQPACKET, 0, connection)
        self.command = socket(AF_UNIX, SOCK_SEQPACKET, 0, command)
        self.process = process
        self.ender = -1
        self.listener = -1

    def is_dead(self) -> bool:
        """Tell whether neither the ``ch-run`` nor its ender can kill processes any more."""
        processes = [fd for fd in (self.process, self.ender) if fd >= 0]
        events = poll()
        for process in processes:
            events.register(process, POLLIN)
        return len(events.poll(0)) == len(processes)


class GroupSource(NotificationSource):
    """The listeners of a group."""

    def __init__(
        self,
        requests: socket,
        proc: int,
        tags: Tags,
        start_ender: Callable[[int, int], int],
        *,
        strict: bool,
        has_page: bool,
    ) -> None:
        """Listen for peers on ``requests``.  Raises OSError.

        ``proc`` is the /proc of the PID namespace of all peers, and the working directory when
        ``wait`` is called.  ``start_ender`` starts the ender of a peer, of which it gets a pidfd
        and the number; it returns the ender's process ID.  ``strict`` and ``has_page`` are for the
        peers' filters.
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
        self._gone: dict[int, _Peer] = {}  # no peers any more, but their numbers may be in use
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
                self._give_ender(peer)

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
            elif len(received) == _ENLISTED and (number := self._free_number()):
                self._add(_Peer(number, *received))
            else:
                for fd in received:
                    os.close(fd)

    def _free_number(self) -> int:
        """Return the number of a new peer; 0 if there are too many."""
        for peer in [peer for peer in self._gone.values() if peer.is_dead()]:
            del self._gone[peer.number]
            os.close(peer.process)
            if peer.ender >= 0:
                os.waitid(os.P_PIDFD, peer.ender, os.WEXITED)
                os.close(peer.ender)
        taken = self._peers.keys() | self._gone.keys()
        return next((number for number in range(1, self._room + 1) if number not in taken), 0)

    def _give_ender(self, peer: _Peer) -> None:
        peer.ender = os.pidfd_open(self._start_ender(peer.process, peer.number))

    def _add(self, peer: _Peer) -> None:
        self._peers[peer.number] = peer
        self._may_begin = False
        if self._has_enders:
            self._give_ender(peer)
        self._watch(peer.command.fileno(), self._take_listener, peer)
        self._watch(peer.process, self._bury, peer)
        try:
            greeting = peer.number.to_bytes(NUMBER_SIZE, sys.byteorder) + self._greeting
            send_message(peer.connection, greeting)
        except OSError:
            pass  # it has died, and its pidfd tells that

    def _take_listener(self, peer: _Peer, _: int) -> None:
        """Take the listener of a command that is about to start, and give it its identity."""
        self._forget(peer.command.fileno())
        try:
            message, received = receive_message(peer.command, COMMAND_LIMIT)
        except OSError:
            message, received = b"", []
        self._closing.append(peer.command.detach())
        if len(received) != 1:
            self._let_go(peer)  # the command has died
            return
        (peer.listener,) = received
        process, *ids = memoryview(message).cast("I")
        uid, gid, *groups = ids or (0, 0, 0)
        try:
            who = first_credentials(uid, gid, tuple(groups))
            is_known = self._tags.set(process, who, peer.number)
        except KernelAnswers:  # it has died
            is_known = False
        if not is_known:
            self._let_go(peer)
            return
        self.has_new = True
        wake_synchronously(peer.listener)
        self._watch(peer.listener, self._hear, peer)

    def _hear(self, peer: _Peer, events: int) -> None:
        """Note a call, or that no process of the peer is left."""
        if events & EPOLLIN:
            self._ready.append(peer)
        else:
            self._let_go(peer)

    def _let_go(self, peer: _Peer) -> None:
        """Let a ``ch-run`` end whose command has no process left."""
        self._remove(peer)
        self._leaving.append(peer)

    def _bury(self, peer: _Peer, _: int) -> None:
        """Kill the processes of a ``ch-run`` that has died."""
        self._forget(peer.process)
        kill_members(self._proc, {os.getpid()}, peer.number)
        if peer.listener < 0:
            self._remove(peer)
            self._closing += [peer.connection.detach(), peer.command.detach()]

    def _remove(self, peer: _Peer) -> None:
        self._gone[peer.number] = self._peers.pop(peer.number)
        for fd in (peer.command.fileno(), peer.process, peer.listener):
            if fd in self._reactions:
                self._forget(fd)
        if peer.listener >= 0:
            self._closing.append(peer.listener)

    def _watch(self, fd: int, reaction: _Reaction, peer: _Peer) -> None:
        self._reactions[fd] = reaction, peer
        self._epoll.register(fd, EPOLLIN)

    def _forget(self, fd: int) -> None:
        self._epoll.unregister(fd)
        del self._reactions[fd]
