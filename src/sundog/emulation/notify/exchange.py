"""RECV and SEND without the costs of fcntl.ioctl: in memory of their own, by plain calls.

fcntl.ioctl audits, copies twice and makes a new object; that is a quarter of what an answer takes.
"""

from _ctypes import byref

from sundog.emulation.notify.listener import (
    NOTIFICATION,
    RESPONSE,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
)
from sundog.emulation.notify.memory import Buffer, quick_function


class Exchange:
    """The two structures of a ``listener``'s descriptor, and the calls on them.

    notification    what RECV fills; it has to be zeroed before
    response        what SEND takes, as three words
    ioctl           the C library's function: called with ``receive`` or ``send`` it returns -1 on
                    failure, with the errno in ``_ctypes.get_errno``
    """

    def __init__(self, listener: int) -> None:
        incoming, outgoing = Buffer(), Buffer()
        self.notification = memoryview(incoming).cast("B")[: NOTIFICATION.size]
        self.response = memoryview(outgoing).cast("B")[: RESPONSE.size].cast("Q")
        self.ioctl = quick_function("ioctl")
        self.receive = (listener, SECCOMP_IOCTL_NOTIF_RECV, byref(incoming))
        self.send = (listener, SECCOMP_IOCTL_NOTIF_SEND, byref(outgoing))
