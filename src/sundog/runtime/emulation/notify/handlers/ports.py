"""bind(2) to ports below 1024, and connect(2), sendto(2) and sendmsg(2) to these."""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import (
    SO_TYPE,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    Struct,
    inet_ntop,
    socket,
)
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import libc_call
from sundog.runtime.emulation.notify.identity.capabilities import CAP_NET_BIND_SERVICE
from sundog.runtime.emulation.notify.seccomp.listener import borrowed_socket
from sundog.runtime.emulation.notify.state.low_ports import socket_like
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.runtime.emulation.notify.tracee.descriptors import descriptor_flags, take_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_AF_INET, _AF_INET6 = 2, 10
_FAMILY = Struct("=H")
_PORT = Struct("!2xH")  # in all of these, behind the family
# By family: where the address is, and its size.
_PLACES = {_AF_INET: (4, 4), _AF_INET6: (8, 16)}
_MAPPED = bytes(10) + b"\xff\xff"  # an address of IPv4 as one of IPv6
_IPV4_SIZE = 4
_LOOPBACK_BYTE = 127
_SOME_PORT = 9
_ADDRESS_LIMIT = 128  # sizeof(struct sockaddr_storage)
_FIRST_UNPRIVILEGED = 1024
_BIND_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL)


class PortHandlers:
    """Have ports below 1024 in a network namespace of the container."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._ports = state.low_ports

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {"connect": self.connect, "sendto": self.sendto}

    def bind(self, thread: int, fd: int, address: bytes) -> Answer:
        """Answer bind(2) of ``fd`` to an ``address`` that is not of a Unix socket."""
        port, _ = _parsed(address)
        if not 0 < port < _FIRST_UNPRIVILEGED or self._ports is None:
            return CONTINUE
        if not self._state.tags.credentials(thread).can(CAP_NET_BIND_SERVICE):
            return CONTINUE
        with Closing(take_descriptor(self._state.abi, thread, fd)) as taken:
            self._state.listener.confirm()
            result = libc_call("bind", taken, address, len(address))
            if result != -errno.EACCES:
                return result
            try:
                with borrowed_socket(taken) as connection:
                    made = self._ports.bound(connection, address, port)
            except OSError as error:
                if error.errno in _BIND_ERRORS:
                    return -error.errno
                # The child could not make the socket: then the host's answer counts.
                text = f"bind(2) of port {port} (all may bind those from {_FIRST_UNPRIVILEGED} on)"
                self._state.refusals.note(thread, text)
                return -errno.EACCES
            return self._replace(thread, fd, taken, made) or 0

    def connect(self, thread: int, args: Arguments) -> Answer:
        """int connect(int fd, const struct sockaddr *address, socklen_t size)."""
        return self.lead(thread, args[0], args[1], args[2] & U32, is_final=True)

    def sendto(self, thread: int, args: Arguments) -> Answer:
        """ssize_t sendto(int fd, const void *, size_t, int, const struct sockaddr *, socklen_t)."""
        return self.lead(thread, args[0], args[4], args[5] & U32, is_final=False)

    def lead(self, thread: int, fd: int, pointer: int, size: int, *, is_final: bool) -> Answer:
        """Move ``fd`` to the namespace in which the address at ``pointer`` is.

        A socket leaves the container's own only if it ``is_final`` to whom it sends.
        """
        ports = self._ports
        if ports is None or not ports.are_bound() or not _FAMILY.size < size <= _ADDRESS_LIMIT:
            return CONTINUE
        port, host = _parsed(self._state.memory.read(thread, pointer, size))
        if not port:
            return CONTINUE
        with Closing(take_descriptor(self._state.abi, thread, fd)) as taken:
            try:
                with borrowed_socket(taken) as connection:
                    is_stream = connection.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_STREAM
                    if is_stream and _is_connected(connection):
                        return CONTINUE
                    if ports.has(connection, port) and _is_own(host):
                        if not ports.is_outside(connection):
                            return CONTINUE
                        made = ports.inside(connection)
                    elif not is_final or not ports.is_inside(connection):
                        return CONTINUE
                    elif is_stream or not _is_own(host):
                        made = socket_like(connection).detach()
                    else:
                        return CONTINUE
            except OSError:
                return CONTINUE
            return self._replace(thread, fd, taken, made)

    def _replace(self, thread: int, fd: int, old: int, new: int) -> Answer:
        """Give the caller the socket ``new`` in the place of ``old``, which is its ``fd``."""
        with Closing(new):
            os.set_blocking(new, os.get_blocking(old))
            flags = descriptor_flags(thread, fd & U32) & os.O_CLOEXEC
            return self._state.listener.replace_descriptor(fd & U32, new, flags)


def _parsed(address: bytes) -> tuple[int, bytes]:
    """Return port and host of an ``address`` of the Internet's families, a port of 0 for others.

    A host of IPv4 has 4 bytes, one of IPv6 has 16.
    """
    (family,) = _FAMILY.unpack_from(address)
    at, size = _PLACES.get(family, (0, 0))
    host = address[at : at + size]
    if not size or len(host) < size:
        return 0, b""
    (port,) = _PORT.unpack_from(address)
    return port, host[len(_MAPPED) :] if host.startswith(_MAPPED) else host


def _is_own(host: bytes) -> bool:
    """Tell whether ``host`` is an address of this machine, or any of them.

    To such an address, the kernel sends from the same one, or from another one of loopback.
    """
    is_short = len(host) == _IPV4_SIZE
    if not any(host) or (is_short and host[0] == _LOOPBACK_BYTE):
        return True
    family = _AF_INET if is_short else _AF_INET6
    text, route = inet_ntop(family, host), socket(family, SOCK_DGRAM)
    try:
        route.connect((text, _SOME_PORT))  # this sends nothing
        return bool(route.getsockname()[0] == text)
    except OSError:
        return False
    finally:
        route.close()


def _is_connected(connection: socket) -> bool:
    """Tell whether a stream is connected, so that its socket must stay."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
