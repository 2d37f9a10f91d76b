"""New inodes, and messages, whose call has not returned yet.

A signal may interrupt a call while the supervisor answers it, unless the filter has
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.  The reply is lost, and the kernel starts the call again.
Then the inode is there already, but the caller must not get EEXIST; and the message has been
received into the caller's memory, but the caller must not wait for the next one.

The kernel may also take a reply, and drop it, if the signal came in the moment before
(kernel/seccomp.c, seccomp_do_user_notification).  Nothing tells that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status

_UNANSWERED_LIMIT = 1 << 8


class Unanswered:
    """The last call that the supervisor did, and those whose callers did not get the reply.

    What it did is device and number of an inode; or, of a message, the caller's descriptor, the
    address of the header, and the length.
    """

    def __init__(self) -> None:
        self._done: tuple[int, int, tuple[int, ...]] = -1, 0, ()  # cookie, thread, what it did
        self._lost: dict[int, tuple[int, ...]] = {}

    def note(self, cookie: int, thread: int, status: Status) -> None:
        """Take note of an inode that the supervisor has made for the call ``cookie``."""
        self._done = cookie, thread, (status.device, status.inode)

    def note_message(self, cookie: int, thread: int, fd: int, header: int, length: int) -> None:
        """Take note of a message that the supervisor has received for the call ``cookie``."""
        self._done = cookie, thread, (fd, header, length)

    def take_message(self, thread: int, fd: int, header: int) -> int | None:
        """Return the length of the message that ``thread`` does not know of, and forget it."""
        match self._lost.get(thread):
            case (known_fd, known_header, length) if (known_fd, known_header) == (fd, header):
                del self._lost[thread]
                return length
        return None

    def lose(self, cookie: int) -> None:
        """Take note that the reply to the call ``cookie`` has not arrived."""
        done_for, thread, what = self._done
        if cookie == done_for:
            while len(self._lost) >= _UNANSWERED_LIMIT:
                del self._lost[next(iter(self._lost))]
            self._lost[thread] = what

    def waits(self, thread: int) -> bool:
        """Tell whether ``thread`` does not know that one of its calls has made a file."""
        return thread in self._lost

    def has(self, thread: int, status: Status) -> bool:
        """Tell whether ``thread`` does not know that its call has made the file."""
        return self._lost.get(thread) == (status.device, status.inode)

    def take(self, thread: int, status: Status) -> bool:
        """Tell the same as ``has``, and forget that."""
        if not self.has(thread, status):
            return False
        del self._lost[thread]
        return True
