"""The loopback interface of a new network namespace, and whose an address is.

Specification: netdevice(7), rtnetlink(7).  No policy.
"""

from __future__ import annotations

import os
import sys
from fcntl import ioctl

from sundog.base.cpython import Struct, socket
from sundog.base.kernel.libc import kernel_error

_AF_INET = 2
_SOCK_DGRAM = 2
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ_NAME = 16
_IFREQ_SIZE = 40
_AF_INET6, _AF_NETLINK = 10, 16
_SOCK_RAW = 3
# struct nlmsghdr, struct rtmsg, and the attribute RTA_OIF.
_ROUTE = Struct("=IHHII 8BI HHI")
_RTM_NEWROUTE, _RTA_OIF = 24, 4
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_CREATE = 0x1, 0x4, 0x400
_RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL = 255, 3, 254, 2
_RTA_SIZE = 8
_LOOPBACK_INDEX = 1  # in each network namespace
_ANSWER_SIZE = 4096
_ACK = Struct("=16xi")  # the header, and a negated errno


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


def have_all_addresses() -> None:
    """Make every address one of this network namespace, by way of ``lo``.  Raises OSError.

    Without IPv6, only those of IPv4.
    """
    header = _ROUTE.size, _RTM_NEWROUTE, _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE, 0, 0
    kind = _RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL
    attribute = _RTA_SIZE, _RTA_OIF, _LOOPBACK_INDEX
    routes = socket(_AF_NETLINK, _SOCK_RAW)
    try:
        for family in (_AF_INET, _AF_INET6):
            routes.send(_ROUTE.pack(*header, family, 0, 0, 0, *kind, 0, *attribute))
            (result,) = _ACK.unpack_from(routes.recv(_ANSWER_SIZE))
            if result and family == _AF_INET:
                raise OSError(-result, os.strerror(-result))
    finally:
        routes.close()
