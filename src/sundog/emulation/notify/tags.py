"""Which credentials a process has: the kernel carries the answer, as a resource limit.

Credentials are entries of a table, and the index is kept in the process's soft RLIMIT_LOCKS: a
limit without effect since Linux 2.4, 64 bits wide, inherited by fork(2) and clone(2), shared by
threads, kept by execve(2), and readable and settable from outside (prlimit(2)).  So there is no
tree of processes to follow, and no race with one that forks.  The filter keeps tracees from
setting that limit themselves (``handlers.misc``).

So IDs are emulated per process, not per thread: which is what glibc makes of the kernel's
per-thread IDs.
"""

from resource import RLIM_INFINITY, getrlimit, prlimit, setrlimit

from sundog.emulation.notify.credentials import Credentials
from sundog.emulation.notify.listener import KernelAnswers

RLIMIT_LOCKS = 10
# Above the index, so that a limit that somebody set before is not taken for a tag.
TAG_MARK = 0x73756E64 << 32
TAG_INDEX = 0xFFFFFFFF
# A program that makes up IDs must not fill the supervisor's memory.
MAX_CREDENTIALS = 1 << 18


def tags_are_possible() -> bool:
    """Tell whether this process may set every tag: its hard limit is as good as none."""
    hard = getrlimit(RLIMIT_LOCKS)[1]
    return hard == RLIM_INFINITY or hard > TAG_MARK | TAG_INDEX


def wear_tag(index: int) -> None:
    """Give this process, which is not supervised yet, the credentials at ``index`` of the table."""
    setrlimit(RLIMIT_LOCKS, (TAG_MARK | index, getrlimit(RLIMIT_LOCKS)[1]))


class Tags:
    """The table, and the tags of processes, by thread ID.

    A process without a tag has the table's first entry: root's.
    """

    def __init__(self, root: Credentials) -> None:
        self.table = [root]
        self._index = {root.values(): 0}
        self._hard = getrlimit(RLIMIT_LOCKS)[1]

    def index(self, thread: int) -> int:
        """Return the index of the credentials of ``thread``.  Raises KernelAnswers if it died."""
        if len(self.table) == 1:
            return 0  # nobody has become anybody yet
        try:
            soft = prlimit(thread, RLIMIT_LOCKS)[0]
        except OSError as error:
            raise KernelAnswers from error
        return soft & TAG_INDEX if soft >> 32 == TAG_MARK >> 32 else 0

    def credentials(self, thread: int) -> Credentials:
        """Return the credentials of ``thread``.  Raises KernelAnswers if it died."""
        return self.table[self.index(thread)]

    def enter(self, credentials: Credentials) -> int:
        """Return the index of ``credentials``, which get into the table, or -1 if it is full."""
        key = credentials.values()
        index = self._index.get(key)
        if index is None:
            index = len(self.table)
            if index >= MAX_CREDENTIALS:
                return -1
            self.table.append(credentials)
            self._index[key] = index
        return index

    def set(self, thread: int, credentials: Credentials) -> bool:
        """Give ``thread``'s process ``credentials``; return whether the table has room for them."""
        index = self.enter(credentials)
        if index < 0:
            return False
        soft = TAG_MARK | index if index else self._hard
        try:
            prlimit(thread, RLIMIT_LOCKS, (soft, self._hard))
        except OSError as error:
            raise KernelAnswers from error
        return True
