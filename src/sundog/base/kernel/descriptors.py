"""Pass descriptors through a Unix socket: SCM_RIGHTS of unix(7); and have many of them."""

from __future__ import annotations

import os
import sys

from sundog.base.cpython import MSG_DONTWAIT, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET, Struct
from sundog.base.kernel.libc import CharPointer, syscall
from sundog.base.kernel.numbers import SENDMSG, process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.cpython import socket

INT_SIZE = 4
MSG_CONFIRM = 0x800  # send(2): it means something to UDP and raw sockets alone
_CONTROL_LIMIT = 64  # bytes of ancillary data: at most 12 descriptors
_MESSAGE = Struct("@PiPNPNi0P")  # struct msghdr
_VECTOR = Struct("@PN")  # struct iovec
_CONTROL_HEADER = Struct("@Nii")  # struct cmsghdr


def allow_descriptors() -> int:
    """Raise the limit of this process's open files as far as possible; return the limit."""
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit  # noqa: PLC0415 - seldom needed

    _, most = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (most, most))
    return most


def send_message(connection: socket, message: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send ``message`` with ``descriptors``; fail instead of waiting or of a signal.

    Raises OSError.
    """
    packed = b"".join([fd.to_bytes(INT_SIZE, sys.byteorder) for fd in descriptors])
    control = [(SOL_SOCKET, SCM_RIGHTS, packed)] if descriptors else []
    connection.sendmsg([message], control, MSG_DONTWAIT | MSG_NOSIGNAL)


def send_unnotified(channel: int, message: bytes, descriptors: Sequence[int]) -> None:
    """Send as ``send_message`` does, also under a filter of ``notify`` that nobody serves yet.

    On some architectures, the C library's sendmsg is socketcall(2), whose flags no filter sees.  So
    this function makes the call by its number.
    """
    packed = b"".join([fd.to_bytes(INT_SIZE, sys.byteorder) for fd in descriptors])
    control = _CONTROL_HEADER.pack(_CONTROL_HEADER.size + len(packed), SOL_SOCKET, SCM_RIGHTS)
    control += packed
    data = CharPointer(message), CharPointer(control)
    addresses = [int.from_bytes(memoryview(pointer), sys.byteorder) for pointer in data]
    vector = CharPointer(_VECTOR.pack(addresses[0], len(message)))
    header = _MESSAGE.pack(
        *(0, 0, int.from_bytes(memoryview(vector), sys.byteorder), 1),
        *(addresses[1], len(control), 0),
    )
    flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM
    result = syscall(SENDMSG[process_abi()], channel, header, flags)
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def receive_message(connection: socket, limit: int) -> tuple[bytes, list[int]]:
    """Wait for a message of at most ``limit`` bytes; return it with its descriptors.

    The descriptors close on exec.  The message is empty if the other end has closed the connection.
    Raises OSError.
    """
    message, control, _, _ = connection.recvmsg(limit, _CONTROL_LIMIT)
    return message, descriptors_of(control)


def descriptors_of(control: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors in ancillary data, and make them close on exec."""
    received = []
    for level, kind, data in control:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            for at in range(0, len(data) - INT_SIZE + 1, INT_SIZE):
                fd = int.from_bytes(data[at : at + INT_SIZE], sys.byteorder)
                os.set_inheritable(fd, False)
                received.append(fd)
    return received
