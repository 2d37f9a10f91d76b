"""RECV and SEND without the costs of fcntl.ioctl: in memory of their own, by plain calls.

fcntl.ioctl audits, copies twice and makes a new object; that is a quarter of what an answer takes.
"""

from _ctypes import byref

from sundog.emulation.notify.listener import (
    CONTINUE_WORD,
    NOTIFICATION,
    RESPONSE,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
)
from sundog.emulation.notify.memory import Buffer, quick_function


class Exchange:
    """The structures of a ``listener``'s descriptor, and the calls on them.

    notification    what RECV fills; it has to be zeroed before
    cookies         the same as words of 64 bits, of which the first is the cookie
    numbers         the same as words of 32 bits; the call's number is at NUMBER
    response        what SEND takes, as three words
    assent          the same, but it says CONTINUE to the cookie that is put first; SEND takes
                    ``assenting`` for its own pointer
    ioctl           the C library's function: called with ``receive`` or ``send`` it returns -1 on
                    failure, with the errno in ``_ctypes.get_errno``
    """

    def __init__(self, listener: int) -> None:
        incoming, outgoing, agreeing = Buffer(), Buffer(), Buffer()
        self.notification = memoryview(incoming).cast("B")[: NOTIFICATION.size]
        self.cookies = self.notification.cast("Q")
        self.numbers = self.notification.cast("I")
        self.response = memoryview(outgoing).cast("B")[: RESPONSE.size].cast("Q")
        self.assent = memoryview(agreeing).cast("B")[: RESPONSE.size].cast("Q")
        self.assent[2] = CONTINUE_WORD
        self.ioctl = quick_function("ioctl")
        self.receive = (listener, SECCOMP_IOCTL_NOTIF_RECV, byref(incoming))
        self.send = (listener, SECCOMP_IOCTL_NOTIF_SEND, byref(outgoing))
        self.assenting = byref(agreeing)
