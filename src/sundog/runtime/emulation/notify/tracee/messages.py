"""Messages of sockets in a tracee's memory: their headers, and control data.

Specification: recvmsg(2), cmsg(3), unix(7); ``struct compat_msghdr`` and ``struct compat_cmsghdr``
of 32-bit programs in the kernel's ``include/net/compat.h``.
"""

from __future__ import annotations

from sundog.base.cpython import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SCM_CREDENTIALS = 2
SCM_PIDFD = 4  # Linux 6.5
CREDENTIALS = Struct("=iII")  # struct ucred: pid, uid, gid


class _MessageForm:
    """The structures of one ABI.

    header      struct msghdr: the address of a name and its size, of a vector and its length, of
                the control data and their size; flags
    stride      the bytes of a struct mmsghdr, which begins with a header and the message's length
    vector      struct iovec: address, size
    """

    __slots__ = ("_alignment", "_prefix", "header", "stride", "vector")

    def __init__(self, word: str, header: str, stride: int) -> None:
        self.header = Struct(header)
        self.stride = stride
        self.vector = Struct(f"={word}{word}")
        self._prefix = Struct(f"={word}ii")  # struct cmsghdr: length, level, type
        self._alignment = self.vector.size // 2

    def parsed(self, data: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Yield place and size of the data, level and type of each message in control ``data``."""
        at, prefix = 0, self._prefix
        while len(data) - at >= prefix.size:
            length, level, kind = prefix.unpack_from(data, at)
            if not prefix.size <= length <= len(data) - at:
                return
            yield at + prefix.size, length - prefix.size, level, kind
            at += -(-length // self._alignment) * self._alignment

    def room(self, size: int) -> int:
        """Return how many bytes of data a control message of at most ``size`` bytes can have.

        The result is negative if not even its header has room.
        """
        return size - self._prefix.size

    def packed(self, level: int, kind: int, data: bytes) -> bytes:
        """Return one control message, with the bytes up to where the next one begins."""
        length = self._prefix.size + len(data)
        return (self._prefix.pack(length, level, kind) + data).ljust(
            -(-length // self._alignment) * self._alignment, b"\0"
        )


MESSAGE = _MessageForm("Q", "=Qi4xQQQQi4x", 64)
NARROW_MESSAGE = _MessageForm("I", "=IiIIIIi", 32)
