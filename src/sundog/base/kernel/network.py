"""Bring up the loopback interface of a new network namespace.

Specification: netdevice(7).  No policy.
"""

from __future__ import annotations

import sys
from fcntl import ioctl

from sundog.base.cpython import socket
from sundog.base.kernel.libc import kernel_error

AF_INET = 2
SOCK_DGRAM = 2
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ_NAME = 16
IFREQ_SIZE = 40


def bring_up_loopback() -> None:
    """Bring up ``lo`` in this process's network namespace.  Raises KernelError."""
    interfaces = socket(AF_INET, SOCK_DGRAM)
    try:
        name = b"lo".ljust(IFREQ_NAME, b"\0")
        request = ioctl(interfaces.fileno(), SIOCGIFFLAGS, name.ljust(IFREQ_SIZE, b"\0"))
        flags = int.from_bytes(request[IFREQ_NAME : IFREQ_NAME + 2], sys.byteorder) | IFF_UP
        request = name + flags.to_bytes(2, sys.byteorder)
        ioctl(interfaces.fileno(), SIOCSIFFLAGS, request.ljust(IFREQ_SIZE, b"\0"))
    except OSError as error:
        raise kernel_error("ioctl", b"lo", error.errno or 0, "bring up the interface lo") from None
    finally:
        interfaces.close()
