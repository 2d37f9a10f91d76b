"""The buffer of the ioctl(2) calls RECV and SEND, which makes them cheap."""

from __future__ import annotations

from sundog.runtime.emulation.notify.seccomp.listener import NOTIFICATION

# fcntl.ioctl passes a writable buffer of more than 1024 bytes to the kernel without a copy (until
# Python 3.13 with the interpreter locked).  It copies a shorter buffer both ways.  A call through
# ctypes copies nothing, but takes longer.
_UNCOPIED_SIZE = 1025


class Exchange:
    """The one buffer that RECV fills and SEND reads.

    buffer          the whole buffer, for ioctl
    notification    the notification; the caller zeroes it before RECV
    numbers         the notification as words of 32 bits; the call's number is at NUMBER
    words           the notification as words of 64 bits; the first three become the response, and
                    the first of these, the cookie, stays as RECV wrote it
    """

    def __init__(self) -> None:
        self.buffer = bytearray(_UNCOPIED_SIZE)
        self.notification = memoryview(self.buffer)[: NOTIFICATION.size]
        self.numbers = self.notification.cast("I")
        self.words = self.notification.cast("Q")
