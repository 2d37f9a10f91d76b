"""The calls of a container's processes, for its supervisor: each start of a process has a listener.

A runtime builds a filter for a container's first process, and one for each process that it starts
in the container later (``crun exec``).  The agent hands the further listeners on.
"""

from __future__ import annotations

import os
from select import EPOLLIN, epoll

from sundog.base.kernel.descriptors import receive_message
from sundog.front.agent.entrance import Beginning
from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource, wake_synchronously

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.cpython import socket

FURTHER = b"+"  # the message with a further listener


class ContainerSource(NotificationSource):
    """The listeners of one container; the container has ended when none is left."""

    def __init__(self, listener: int, further: socket) -> None:
        """Listen to ``listener``, and to those that come through ``further``.  Raises OSError.

        The first process has executed its program; the others have not.
        """
        super().__init__(listener, must_poll=True)
        self._further = further
        self._listeners: set[int] = set()
        self._beginning: dict[int, Beginning] = {}
        self._ready: list[int] = []
        self._epoll = epoll()
        self._epoll.register(further.fileno(), EPOLLIN)
        self._add(listener)

    def wait(self) -> bool:
        """Wait for a notification; return False if no process is left under a filter."""
        while not self._ready:
            if not self._listeners:
                return False
            for fd, events in self._epoll.poll():
                if fd not in self._listeners:
                    self._take()
                elif events & EPOLLIN:
                    self._hear(fd)
                else:
                    self._remove(fd)
        self.fd = self._ready.pop()
        return True

    def has_ended(self) -> bool:
        """Return False: only ``wait`` tells that."""
        return False

    def _hear(self, listener: int) -> None:
        """Take note of a call, or leave it to the kernel."""
        begins = self._beginning.get(listener)
        if begins is None:
            self._ready.append(listener)
            return
        begins.leave_to_kernel()
        if begins.is_over:
            del self._beginning[listener]

    def _take(self) -> None:
        """Take a further listener."""
        message, received = receive_message(self._further, len(FURTHER))
        if not message:  # the agent has ended
            self._epoll.unregister(self._further.fileno())
        for fd in received:
            self._beginning[fd] = Beginning(fd)
            self._add(fd)

    def _add(self, listener: int) -> None:
        wake_synchronously(listener)
        self._listeners.add(listener)
        self._epoll.register(listener, EPOLLIN)

    def _remove(self, listener: int) -> None:
        self._epoll.unregister(listener)
        self._listeners.discard(listener)
        self._beginning.pop(listener, None)
        os.close(listener)
