"""Owners of the objects of System V IPC: sysvipc(7).

For the kernel, all objects of the container belong to one user.  An object of another emulated user
than root has a record.  An identifier has a sequence number and an index in the kernel's table, and
there is one record for each index.  So there are no more records than the kernel allows objects,
and an object that takes the place of a removed one has another identifier.

An object without a record is root's, also one that belongs to another user of the host.

The supervisor looks at objects by SHM_STAT_ANY and its like, which ask for no permission.
"""

from __future__ import annotations

import os

from sundog.base.cpython import Struct
from sundog.base.kernel.libc import address, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

IPC_RMID, IPC_SET, IPC_STAT = 0, 1, 2
# An identifier modulo one of these is its index: ipc/util.h; the larger one with ipcmni_extend.
_INDEX_MASKS = (0x7FFF, 0xFFFFFF)

# The start of struct ipc64_perm: key, owner, group, creator, its group, mode.
PERMISSION = Struct("=iIIIII")
_OWNERS = Struct("=IIII")
OWNERS_PLACE = 4
_PROCESS = Struct("=i")
_BUFFER_SIZE = 256
SEMID_SIZES = {"x86_64": 104}
SEMID_SIZE = 88  # elsewhere
QUEUE_BYTES = Struct("=Q")
QUEUE_BYTES_PLACE = 88  # in struct msqid64_ds


class SysvKind:
    """One of the three kinds of objects.

    name        of the file in /proc/sysvipc
    get, ctl    the names of the calls
    stat, stat_any
                what *ctl(2) takes an index for
    size        of the structure that *ctl(2) fills in, 0: see SEMID_SIZES
    pids        the offsets in that structure of process IDs, the creator's first
    pid_columns the columns of these in the file
    owner_column
                the first of the four columns with owners
    """

    __slots__ = (
        "ctl",
        "get",
        "name",
        "owner_column",
        "pid_columns",
        "pids",
        "size",
        "stat",
        "stat_any",
    )

    def __init__(
        self,
        name: str,
        calls: tuple[str, str],
        stats: tuple[int, int],
        size: int,
        *,
        pids: tuple[int, ...] = (),
        pid_columns: tuple[int, ...] = (),
        owner_column: int,
    ) -> None:
        self.name = name
        self.get, self.ctl = calls
        self.stat, self.stat_any = stats
        self.size = size
        self.pids = pids
        self.pid_columns = pid_columns
        self.owner_column = owner_column


SEGMENTS = SysvKind(
    "shm",
    ("shmget", "shmctl"),
    (13, 15),
    112,
    pids=(80, 84),
    pid_columns=(4, 5),
    owner_column=7,
)
SEMAPHORES = SysvKind("sem", ("semget", "semctl"), (18, 20), 0, owner_column=4)
QUEUES = SysvKind(
    "msg",
    ("msgget", "msgctl"),
    (11, 13),
    120,
    pids=(96, 100),
    pid_columns=(5, 6),
    owner_column=7,
)
SYSV_KINDS = {kind.name: kind for kind in (SEGMENTS, SEMAPHORES, QUEUES)}


class _SysvRecord:
    """Owner and creator of the object ``number``; ``maker`` is the process ID that it shows."""

    __slots__ = ("maker", "number", "owners")

    def __init__(self, number: int, owners: tuple[int, int, int, int], maker: int) -> None:
        self.number = number
        self.owners = owners  # owner, group, creator, creator's group
        self.maker = maker


class SysvObject:
    """An object as the kernel has it, and the owners that programs see.

    raw     the kernel's structure
    """

    __slots__ = ("kind", "mode", "number", "owners", "raw", "record")

    def __init__(self, kind: SysvKind, number: int, raw: bytes, record: _SysvRecord | None) -> None:
        *_, mode = PERMISSION.unpack_from(raw)
        self.kind = kind
        self.number = number
        self.mode = mode
        self.raw = raw
        self.record = record
        self.owners = (0, 0, 0, 0) if record is None else record.owners


class SysvObjects:
    """The objects in the supervisor's own IPC namespace, and their records."""

    def __init__(self, abi: NotifyAbi) -> None:
        self._abi = abi
        self._records: dict[tuple[str, int], _SysvRecord] = {}
        self._buffer = bytearray(_BUFFER_SIZE)
        self._address = address(self._buffer)

    def is_here(self, thread: int, namespace: bytes = b"ipc") -> bool:
        """Tell whether ``thread`` is in the supervisor's own ``namespace``.  Raises OSError."""
        return os.readlink(b"%d/ns/%b" % (thread, namespace)) == os.readlink(
            b"self/ns/" + namespace
        )

    def get(self, kind: SysvKind, *args: int) -> int:
        """Call shmget(2), semget(2) or msgget(2); return the identifier, or a negated errno."""
        return syscall(self._abi.numbers[kind.get], *args)

    def control(self, kind: SysvKind, number: int, command: int, data: bytes = b"") -> int:
        """Call shmctl(2), semctl(2) or msgctl(2); return the result, or a negated errno."""
        self._buffer[: len(data)] = data
        extra = (0,) if kind is SEMAPHORES else ()
        return syscall(self._abi.numbers[kind.ctl], number, *extra, command, self._address)

    def look(self, kind: SysvKind, number: int) -> SysvObject | None:
        """Return the object with the identifier ``number``; None if there is none."""
        for mask in _INDEX_MASKS if number >= 0 else ():
            found = self.look_at(kind, number & mask)
            if found is not None and found.number == number:
                return found
        return None

    def look_at(self, kind: SysvKind, index: int) -> SysvObject | None:
        """Return the object at ``index``; None if there is none."""
        number = self.control(kind, index, kind.stat_any)
        if number < 0:
            return None
        size = kind.size or SEMID_SIZES.get(self._abi.name, SEMID_SIZE)
        return SysvObject(kind, number, bytes(self._buffer[:size]), self.record(kind, number))

    def record(self, kind: SysvKind, number: int) -> _SysvRecord | None:
        """Return the record of the object with the identifier ``number``; None: it is root's."""
        for mask in _INDEX_MASKS:
            record = self._records.get((kind.name, number & mask))
            if record is not None and record.number == number:
                return record
        return None

    def enter(self, kind: SysvKind, number: int, who: Credentials, maker: int) -> None:
        """Record that ``who`` has made an object; ``maker`` is its process ID."""
        owners = (who.euid, who.egid, who.euid, who.egid)
        self._keep(kind, _SysvRecord(number, owners, maker))

    def give(self, found: SysvObject, uid: int, gid: int) -> None:
        """Record another owner of an object."""
        maker = 0 if found.record is None else found.record.maker
        self._keep(found.kind, _SysvRecord(found.number, (uid, gid, *found.owners[2:]), maker))

    def forget(self, kind: SysvKind, number: int) -> None:
        """Forget an object, unless it is still there: a segment stays as long as it is in use."""
        if self.look(kind, number) is None:
            for mask in _INDEX_MASKS:
                record = self._records.get((kind.name, number & mask))
                if record is not None and record.number == number:
                    del self._records[kind.name, number & mask]

    def _keep(self, kind: SysvKind, record: _SysvRecord) -> None:
        index = record.number & _INDEX_MASKS[0]
        found = self.look_at(kind, index)
        if found is None or found.number != record.number:
            index = record.number & _INDEX_MASKS[1]
        self._records[kind.name, index] = record


def shown_structure(found: SysvObject, pids: Callable[[int], int] | None) -> bytes:
    """Return the kernel's structure as programs see it.

    ``pids`` turns the supervisor's number of a process into the reader's; None: they are the same.
    """
    kind, raw = found.kind, bytearray(found.raw)
    _OWNERS.pack_into(raw, OWNERS_PLACE, *found.owners)
    for place in kind.pids if pids is not None else ():
        (outer,) = _PROCESS.unpack_from(raw, place)
        _PROCESS.pack_into(raw, place, pids(outer) if pids is not None and outer else 0)
    if kind is SEGMENTS and found.record is not None and found.record.maker:
        _PROCESS.pack_into(raw, kind.pids[0], found.record.maker)
    return bytes(raw)


def shown_list(
    objects: SysvObjects, kind: SysvKind, text: bytes, pids: Callable[[int], int] | None = None
) -> bytes:
    """Return the ``text`` of a file in /proc/sysvipc as the kernel would write it: ipc/util.c.

    ``pids`` is as for ``shown_structure``.
    """
    title, *lines = text.split(b"\n")
    shown = [title]
    for line in lines:
        words = line.split()
        if not words:
            shown.append(line)
            continue
        record = objects.record(kind, int(words[1]))
        owners = (0, 0, 0, 0) if record is None else record.owners
        columns = dict(enumerate(owners, kind.owner_column))
        if pids is not None:
            columns |= {column: pids(int(words[column])) for column in kind.pid_columns}
        if kind is SEGMENTS and record is not None and record.maker:
            columns[kind.pid_columns[0]] = record.maker
        shown.append(_replaced_columns(line, columns))
    return b"\n".join(shown)


def _replaced_columns(line: bytes, columns: dict[int, int]) -> bytes:
    """Return ``line`` with other numbers in some ``columns``, all of which have the form %5u."""
    rest, pieces = line, []
    for index, word in enumerate(line.split()):
        blank, _, rest = rest.partition(word)
        if index in columns:
            gap = len(blank) + len(word) - max(5, len(word))
            pieces.append(b" " * gap + b"%5d" % columns[index])
        else:
            pieces.append(blank + word)
    return b"".join(pieces) + rest
