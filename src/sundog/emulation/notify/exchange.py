"""RECV and SEND at what the two system calls cost: all in one place in memory."""

from sundog.emulation.notify.listener import NOTIFICATION

# fcntl.ioctl hands a writable buffer of more than 1024 bytes to the kernel as it is.  It copies a
# shorter one there and back; and a call through ctypes, which copies nothing, takes longer.
_UNCOPIED = 1025


class Exchange:
    """The memory that RECV fills and SEND reads.

    memory          all of it, as ioctl takes it
    notification    the notification, which has to be zeroed before RECV
    numbers         the same as words of 32 bits; the call's number is at NUMBER
    words           the same as words of 64 bits: three make the response, and the first of them,
                    the cookie, is there already
    """

    def __init__(self) -> None:
        self.memory = bytearray(_UNCOPIED)
        self.notification = memoryview(self.memory)[: NOTIFICATION.size]
        self.numbers = self.notification.cast("I")
        self.words = self.notification.cast("Q")
