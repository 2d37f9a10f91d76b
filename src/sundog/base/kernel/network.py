"""Bring up the loopback interface of a new network namespace.

Specification: netdevice(7).  No policy.
"""

from __future__ import annotations

import sys
from fcntl import ioctl

from sundog.base.cpython import socket
from sundog.base.kernel.libc import kernel_error

_AF_INET = 2
_SOCK_DGRAM = 2
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ_NAME = 16
_IFREQ_SIZE = 40


def bring_up_loopback() -> None:
    """Bring up ``lo`` in this process's network namespace.  Raises KernelError."""
    interfaces = socket(_AF_INET, _SOCK_DGRAM)
    try:
        name = b"lo".ljust(_IFREQ_NAME, b"\0")
        request = ioctl(interfaces.fileno(), _SIOCGIFFLAGS, name.ljust(_IFREQ_SIZE, b"\0"))
        flags = int.from_bytes(request[_IFREQ_NAME : _IFREQ_NAME + 2], sys.byteorder) | _IFF_UP
        request = name + flags.to_bytes(2, sys.byteorder)
        ioctl(interfaces.fileno(), _SIOCSIFFLAGS, request.ljust(_IFREQ_SIZE, b"\0"))
    except OSError as error:
        raise kernel_error("ioctl", b"lo", error.errno or 0, "bring up the interface lo") from None
    finally:
        interfaces.close()
