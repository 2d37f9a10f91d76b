"""A number that the kernel carries for each process: the tag, kept as a resource limit.

The tag is the process's soft RLIMIT_LOCKS: a limit without effect since Linux 2.4, 64 bits wide,
inherited by fork(2) and clone(2), shared by threads, kept by execve(2), and readable and settable
from outside (prlimit(2)).  So the supervisor follows no tree of processes, and has no race with a
process that forks.  The filter keeps tracees from setting that limit themselves
(``handlers.limits``).

A tag also tells to which ``ch-run`` of a group the process belongs: its peer, 0 outside of groups.
"""

from __future__ import annotations

from resource import RLIM_INFINITY, getrlimit, prlimit, setrlimit

RLIMIT_LOCKS = 10
# The high half of a tag.  A limit that somebody set before does not look like a tag.
TAG_MARK = 0x73756E64 << 32
TAG_INDEX = 0xFFFFF
PEER_SHIFT = 20
PEER_LIMIT = 1 << 12
_TAG_NUMBER = 0xFFFFFFFF  # index and peer
# The limit of a supervisor, which is no tag.
SUPERVISOR_MARK = TAG_MARK - 1
FILE_LOCKS = b"\nMax file locks"  # the begin of its line in /proc/PID/limits


def tags_are_possible() -> bool:
    """Tell whether this process may set every tag: its hard limit is above all of them."""
    hard = getrlimit(RLIMIT_LOCKS)[1]
    return hard == RLIM_INFINITY or hard > TAG_MARK | _TAG_NUMBER


def wear_tag(index: int) -> None:
    """Give this process, which is not supervised yet, the credentials at ``index`` of the table."""
    setrlimit(RLIMIT_LOCKS, (TAG_MARK | index, getrlimit(RLIMIT_LOCKS)[1]))


def wear_supervisor_mark() -> None:
    """Let other processes see that this one is a supervisor."""
    setrlimit(RLIMIT_LOCKS, (SUPERVISOR_MARK, getrlimit(RLIMIT_LOCKS)[1]))


def tag_index(thread: int) -> int:
    """Return the index in the tag of ``thread``, 0 if the thread has no tag.  Raises OSError."""
    return _tag_number(thread) & TAG_INDEX


def tag_peer(thread: int) -> int:
    """Return the peer in the tag of ``thread``, 0 if the thread has no tag.  Raises OSError."""
    return _tag_number(thread) >> PEER_SHIFT


def _tag_number(thread: int) -> int:
    """Return index and peer in the tag of ``thread`` as one number.  Raises OSError."""
    return _number_in(prlimit(thread, RLIMIT_LOCKS)[0])


def soft_limit_in(limits: bytes) -> int:
    """Return the limit that has the tag, from the text of /proc/PID/limits; 0 if it is not there.

    An unlimited one counts as 0, too.
    """
    words = limits.partition(FILE_LOCKS)[2].split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else 0


def index_in(soft: int) -> int:
    """Return the index in the tag that the soft limit ``soft`` is, 0 if it is no tag."""
    return _number_in(soft) & TAG_INDEX


def _number_in(soft: int) -> int:
    """Return index and peer in the tag that the soft limit ``soft`` is, 0 if it is no tag."""
    return soft & _TAG_NUMBER if soft >> 32 == TAG_MARK >> 32 else 0
