"""New inodes whose creating call has not returned yet.

A signal may interrupt a call while the supervisor answers it, unless the filter has
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.  The reply is lost, and the kernel starts the call again.
Then the inode is there already, but the caller must not get EEXIST.

The kernel may also take a reply, and drop it, if the signal came in the moment before
(kernel/seccomp.c, seccomp_do_user_notification).  Nothing tells that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status

_UNANSWERED_LIMIT = 1 << 8


class Unanswered:
    """The last inode that the supervisor made, and those whose makers did not get the reply."""

    def __init__(self) -> None:
        self._made = -1, 0, (0, 0)  # cookie, thread, device and inode number
        self._lost: dict[int, tuple[int, int]] = {}

    def note(self, cookie: int, thread: int, status: Status) -> None:
        """Take note of an inode that the supervisor has made for the call ``cookie``."""
        self._made = cookie, thread, (status.device, status.inode)

    def lose(self, cookie: int) -> None:
        """Take note that the reply to the call ``cookie`` has not arrived."""
        made_for, thread, inode = self._made
        if cookie == made_for:
            while len(self._lost) >= _UNANSWERED_LIMIT:
                del self._lost[next(iter(self._lost))]
            self._lost[thread] = inode

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
