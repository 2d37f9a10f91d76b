"""Credentials of each process: a table, and a tag on the process, an index into the table.

So emulated IDs belong to a process, not to a thread.  glibc hides the kernel's IDs of threads, too.

When the table has grown, the supervisor looks at all processes, and frees the entries that none of
them has.
"""

from __future__ import annotations

import os
from resource import getrlimit, prlimit

from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.descriptors import inner_id
from sundog.runtime.emulation.notify.tracee.tag import (
    PEER_SHIFT,
    RLIMIT_LOCKS,
    TAG_MARK,
    tag_index,
    tag_peer,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials

# A program that makes up IDs must not fill the supervisor's memory.  An entry weighs _ENTRY_WEIGHT,
# and 1 for each of its groups.
_ENTRY_WEIGHT = 16
_WEIGHT_LIMIT = (1 << 18) * _ENTRY_WEIGHT
_FIRST_SWEEP = (1 << 12) * _ENTRY_WEIGHT
# One look can miss a process that forks and ends meanwhile, together with its child.
_LOOKS = 2
_ENDED_LIMIT = 1 << 8


class Tags:
    """The table, and the tags of processes, by thread ID.

    A process without a tag has the table's first entry: root's.  The working directory is a /proc
    that shows all processes with tags.
    """

    def __init__(self, root: Credentials) -> None:
        self.table = [root]
        self._index = {root.values(): 0}
        self._free: list[int] = []
        self._weight = 0
        self._sweep_at = _FIRST_SWEEP
        # By process: its number in its own PID namespace, and its credentials.
        self._changed: dict[int, tuple[int, Credentials]] | None = None
        self._hard = getrlimit(RLIMIT_LOCKS)[1]

    def index(self, thread: int) -> int:
        """Return the index of the credentials of ``thread``.  Raises KernelAnswers if it died."""
        if len(self.table) == 1:
            return 0  # no process has changed its identity yet
        try:
            return tag_index(thread)
        except OSError as error:
            raise KernelAnswers from error

    def credentials(self, thread: int) -> Credentials:
        """Return the credentials of ``thread``.  Raises KernelAnswers if it died."""
        return self.table[self.index(thread)]

    def remember_ended(self) -> None:
        """Remember from now on who the last processes were that became somebody."""
        if self._changed is None:
            self._changed = {}

    def find(self, process: int) -> tuple[int, Credentials]:
        """Return the number of ``process`` in its own PID namespace if it has ended, and who it is.

        The number is 0 if it lives.  One that nobody remembers is root.
        """
        try:
            index = tag_index(process)
        except OSError:
            return (self._changed or {}).get(process, (0, self.table[0]))
        return 0, self.table[index if index < len(self.table) else 0]

    def enter(self, credentials: Credentials) -> int:
        """Put ``credentials`` into the table; return their index, or -1 if the table is full."""
        key = credentials.values()
        index = self._index.get(key)
        if index is not None:
            return index
        if self._weight >= self._sweep_at:
            self._sweep()
        if self._weight + _weight(credentials) > _WEIGHT_LIMIT:
            return -1
        self._weight += _weight(credentials)
        if self._free:
            index = self._free.pop()
            self.table[index] = credentials
        else:
            index = len(self.table)
            self.table.append(credentials)
        self._index[key] = index
        return index

    def set(self, thread: int, credentials: Credentials, peer: int = 0) -> bool:
        """Give ``credentials`` to the process of ``thread``; return False if the table is full.

        The process also becomes one of ``peer``, unless it has a peer.  Raises KernelAnswers if the
        thread died.
        """
        index = self.enter(credentials)
        if index < 0:
            return False
        try:
            number = (peer or tag_peer(thread)) << PEER_SHIFT | index
            soft = TAG_MARK | number if number else self._hard
            prlimit(thread, RLIMIT_LOCKS, (soft, self._hard))
            if self._changed is not None:
                self._changed.pop(thread, None)
                while len(self._changed) >= _ENDED_LIMIT:
                    del self._changed[next(iter(self._changed))]
                self._changed[thread] = inner_id(thread), credentials
        except OSError as error:
            raise KernelAnswers from error
        return True

    def _sweep(self) -> None:
        """Free the entries that no process has.

        Meanwhile a process gets a tag only from its parent, by fork(2).  A process that changes its
        identity or starts a program waits for the supervisor's answer.
        """
        used = {0}
        for _ in range(_LOOKS):
            for name in os.listdir(b"."):
                if name.isdigit():
                    try:
                        index = tag_index(int(name))
                    except OSError:
                        continue  # the process has ended, or belongs to somebody else
                    used.add(index)
        root = self.table[0]
        self._index = {key: index for key, index in self._index.items() if index in used}
        self._free = [index for index in range(1, len(self.table)) if index not in used]
        for index in self._free:
            self.table[index] = root
        self._weight = sum(_weight(self.table[index]) for index in self._index.values())
        self._sweep_at = min(_FIRST_SWEEP + 2 * self._weight, _WEIGHT_LIMIT)


def _weight(credentials: Credentials) -> int:
    """Return the weight of ``credentials`` in the table."""
    return _ENTRY_WEIGHT + len(credentials.groups)
