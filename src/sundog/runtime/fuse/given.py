"""The server as a program of its own, for one mount: the compiled ``ch-run`` starts it.

``ch-run`` has forked twice, and has started a new session.  The third argument is the number of an
open descriptor: its channel.  It wants no records, and no reason of a failure: the launcher in
Python then reports it.

Each start loads this module and what it imports, so they have only what one mount needs:
``_socket`` alone takes a quarter of a millisecond.
"""

from __future__ import annotations

import os
import sys

from sundog.base.cpython import Struct
from sundog.base.kernel.libc import address, libc_call
from sundog.errors import SundogError
from sundog.runtime.fuse.messages import DEVICE_MESSAGE, READY
from sundog.runtime.fuse.process import become_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Service = Callable[[int], None]

_MESSAGE = Struct("PIPNPNi0P")  # struct msghdr
_PART = Struct("PN")  # struct iovec
_CONTROL = Struct("Niii0N")  # struct cmsghdr, and a descriptor
_CONTROL_LENGTH = 20
_SOL_SOCKET, _SCM_RIGHTS = 1, 1
_MSG_CMSG_CLOEXEC = 0x40000000


def serve_given(begin: Callable[[int], int], opened: Callable[[int, int, int], Service]) -> None:
    """Be the server.  Never returns.  If it fails, the end of the channel tells ``ch-run``.

    ``begin`` gets the channel, and returns the descriptor of what is to be shown.  ``opened`` gets
    that, and the owner of the files: uid and gid.  It returns what serves a device of FUSE until
    its file system is gone.
    """
    channel = int(sys.argv[3])
    try:
        given = begin(channel)
        become_server((channel, given))
        device, uid, gid = _receive_device(channel)
        serve = opened(given, uid, gid)
        os.write(channel, READY)
        os.close(channel)
        serve(device)
    except BaseException:
        os._exit(1)  # the kernel closes the device
    os._exit(0)


def given_descriptor(_channel: int) -> int:
    """Return the descriptor that is the fourth argument."""
    return int(sys.argv[4])


def _receive_device(channel: int) -> tuple[int, int, int]:
    """Return the device that ``ch-run`` has mounted, and the owner of the files: uid and gid.

    Raises SundogError if ``ch-run`` has ended.
    """
    text, control = bytearray(DEVICE_MESSAGE.size), bytearray(_CONTROL.size)
    part = bytearray(_PART.pack(address(text), len(text)))
    message = bytearray(_MESSAGE.pack(0, 0, address(part), 1, address(control), len(control), 0))
    received = libc_call("recvmsg", channel, address(message), _MSG_CMSG_CLOEXEC)
    length, level, kind, device = _CONTROL.unpack(control)
    wanted = _CONTROL_LENGTH, _SOL_SOCKET, _SCM_RIGHTS
    if received != len(text) or (length, level, kind) != wanted:
        raise SundogError("no device")
    _, uid, gid, _ = DEVICE_MESSAGE.unpack(text)
    return device, uid, gid
