"""Ports below 1024: sockets in a network namespace that belongs to the container.

The host's network lets nobody bind such a port without its own privileges.  A network namespace of
the container lets the container's root.  A socket stays in the namespace in which it was made,
whoever uses it.  So the supervisor has a socket made there: for a program that binds such a port,
and for each that sends to one.  The namespace has each address, and reaches nothing but itself.
Nobody outside of the container reaches these ports, and no listener of the host is in the way.

Specification: network_namespaces(7), socket(7), ip(7), ipv6(7), tcp(7).
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import (
    AF_UNIX,
    SO_BROADCAST,
    SO_DOMAIN,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_OOBINLINE,
    SO_PRIORITY,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVTIMEO,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_SNDTIMEO,
    SO_TYPE,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)
from sundog.base.kernel.descriptors import receive_message, send_message
from sundog.base.kernel.files import close_all_but
from sundog.base.kernel.libc import libc_call
from sundog.base.kernel.namespaces import CLONE_NEWNET, setns, unshare
from sundog.base.kernel.network import bring_up_loopback, have_all_addresses
from sundog.base.kernel.process import fork_below
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.seccomp.listener import borrowed_socket

_SO_NETNS_COOKIE = 71  # Linux 5.14
_COOKIE_SIZE = 8
_OPTION_SIZE = 64
# By level: the options that a program may have set before it binds.
_OPTIONS = {
    SOL_SOCKET: (
        *(SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_LINGER, SO_OOBINLINE),
        *(SO_PRIORITY, SO_RCVTIMEO, SO_SNDTIMEO),
    ),
    # IP_TOS, IP_TTL, IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_FREEBIND
    0: (1, 2, 8, 11, 12, 13, 15),
    # TCP_NODELAY, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_SYNCNT, TCP_LINGER2,
    # TCP_DEFER_ACCEPT, TCP_CONGESTION, TCP_USER_TIMEOUT, TCP_FASTOPEN
    6: (1, 3, 4, 5, 6, 7, 8, 9, 13, 18, 23),
    # IPV6_UNICAST_HOPS, IPV6_RECVERR, IPV6_V6ONLY, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT,
    # IPV6_RECVTCLASS, IPV6_TCLASS
    41: (16, 25, 26, 49, 51, 66, 67),
}
_DONE = b"\0"


class LowPorts:
    """The ports of a container below 1024, and their network namespace, made when one is bound."""

    def __init__(self) -> None:
        self._namespace = -1
        self._cookies = b"", b""  # of the namespaces in which the sockets were, and are
        self._bound: set[tuple[int, int]] = set()

    def are_bound(self) -> bool:
        """Tell whether any is bound, or has been."""
        return bool(self._bound)

    def has(self, connection: socket, port: int) -> bool:
        """Tell whether ``port`` has been bound by a socket of the type of ``connection``."""
        return (connection.getsockopt(SOL_SOCKET, SO_TYPE), port) in self._bound

    def is_outside(self, connection: socket) -> bool:
        """Tell whether a socket is in the namespace in which the ports could not be bound."""
        return _cookie(connection) == self._cookies[0]

    def is_inside(self, connection: socket) -> bool:
        """Tell whether a socket is in the container's own namespace."""
        return _cookie(connection) == self._cookies[1]

    def bound(self, connection: socket, address: bytes, port: int) -> int:
        """Return a socket like ``connection`` that is bound to ``address``.  Raises OSError."""
        made = self.inside(connection, address)
        with borrowed_socket(made) as other:
            self._cookies = _cookie(connection), _cookie(other)
        self._bound.add((connection.getsockopt(SOL_SOCKET, SO_TYPE), port))
        return made

    def inside(self, connection: socket, address: bytes = b"") -> int:
        """Return a socket like ``connection`` in the container's own namespace.  Raises OSError.

        A child makes it, because the supervisor could not come back to the host's namespace.
        """
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        child = fork_below()
        if child == 0:
            try:
                kept = (connection.fileno(), theirs.fileno(), self._namespace)
                close_all_but(fd for fd in kept if fd >= 0)
                _make(theirs, connection, self._namespace, address)
            finally:
                os._exit(0)
        theirs.close()
        try:
            message, received = receive_message(ours, 1)
        finally:
            ours.close()
            os.waitpid(child, 0)
        if not received:
            raise OSError(message[0] if message else errno.EIO, "socket")
        made, *namespace = received
        if namespace:
            (self._namespace,) = namespace
        return made


def socket_like(connection: socket) -> socket:
    """Return a new socket of the kind and with the options of ``connection``.  Raises OSError."""
    kind = [connection.getsockopt(SOL_SOCKET, what) for what in (SO_DOMAIN, SO_TYPE, SO_PROTOCOL)]
    made = socket(*kind)
    for level, options in _OPTIONS.items():
        for option in options:
            try:
                wanted = connection.getsockopt(level, option, _OPTION_SIZE)
                if wanted != made.getsockopt(level, option, _OPTION_SIZE):
                    made.setsockopt(level, option, wanted)
            except OSError:
                continue  # it does not exist for this kind of socket
    for option in (SO_SNDBUF, SO_RCVBUF):
        size = connection.getsockopt(SOL_SOCKET, option)
        if size != made.getsockopt(SOL_SOCKET, option):
            made.setsockopt(SOL_SOCKET, option, size // 2)  # the kernel doubles it
    return made


def _make(channel: socket, connection: socket, namespace: int, address: bytes) -> None:
    """Send a socket like ``connection`` in a network ``namespace`` (-1: a new one), or an errno.

    It is bound to ``address``, if there is one, else to the port to which ``connection`` is bound.
    """
    try:
        if namespace < 0:
            unshare(CLONE_NEWNET)
            bring_up_loopback()
            have_all_addresses()
        else:
            setns(namespace, CLONE_NEWNET)
        made = socket_like(connection)
        if address:
            result = libc_call("bind", made.fileno(), address, len(address))
            if result < 0:
                raise OSError(-result, "bind")
        elif (name := connection.getsockname())[1]:
            made.bind(name)
        sent = [made.fileno()]
        if namespace < 0:
            sent.append(os.open(b"self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        send_message(channel, _DONE, sent)
    except (OSError, KernelError) as error:
        send_message(channel, bytes([error.errno or errno.EIO]))


def _cookie(connection: socket) -> bytes:
    """Return the number of the network namespace of a socket."""
    return connection.getsockopt(SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE_SIZE)
