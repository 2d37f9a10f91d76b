"""What RECV and SEND exchange with the kernel, so that a call costs little more than itself."""

from sundog.emulation.notify.seccomp.listener import NOTIFICATION

# fcntl.ioctl hands a writable buffer of more than 1024 bytes to the kernel as it is, until Python
# 3.13 with the interpreter locked.  It copies a shorter one there and back; and a call through
# ctypes, which copies nothing, takes longer.
UNCOPIED_SIZE = 1025


class Exchange:
    """The one buffer that RECV fills and SEND reads.

    buffer          all of it, as ioctl takes it
    notification    the notification, which has to be zeroed before RECV
    numbers         the same as words of 32 bits; the call's number is at NUMBER
    words           the same as words of 64 bits: three make the response, and the first of them,
                    the cookie, is there already
    """

    def __init__(self) -> None:
        self.buffer = bytearray(UNCOPIED_SIZE)
        self.notification = memoryview(self.buffer)[: NOTIFICATION.size]
        self.numbers = self.notification.cast("I")
        self.words = self.notification.cast("Q")
