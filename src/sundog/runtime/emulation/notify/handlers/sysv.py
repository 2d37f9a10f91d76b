"""System V IPC: objects have owners, and others are refused what the kernel would refuse.

The rules follow ipc/util.c, ipc/shm.c, ipc/sem.c and ipc/msg.c of Linux.  The supervisor makes the
objects of other users than root itself, because then it knows their identifiers.  semop(2),
msgsnd(2) and msgrcv(2) are notified under ``strict`` only: programs call them as often as read(2).
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct
from sundog.runtime.emulation.notify.identity.capabilities import CAP_IPC_OWNER
from sundog.runtime.emulation.notify.identity.credentials import UNCHANGED, Credentials
from sundog.runtime.emulation.notify.identity.permissions import (
    may_control_ipc,
    may_lock_ipc,
    may_use_ipc,
)
from sundog.runtime.emulation.notify.state.sysv import (
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    OWNERS_PLACE,
    PERMISSION,
    QUEUE_BYTES,
    QUEUE_BYTES_PLACE,
    QUEUES,
    SEGMENTS,
    SEMAPHORES,
    SysvKind,
    SysvObject,
    shown_structure,
)
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, signed
from sundog.runtime.emulation.notify.tracee.descriptors import ids_seen_by, status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_IPC_PRIVATE = 0
_IPC_CREAT, _IPC_EXCL = 0o1000, 0o2000
IPC_64 = 0x100  # in commands of ipc(2)
_PERMISSION_BITS = 0o777
_IPC_READS, _IPC_WRITES = 0o444, 0o222
_SHM_RDONLY, _SHM_EXEC = 0o10000, 0o100000
_SHM_LOCK, _SHM_UNLOCK = 11, 12
_GETPID, _GETVAL, _GETALL, _GETNCNT, _GETZCNT, _SETVAL, _SETALL = range(11, 18)
# Further commands, and the permission bits that they need.
_SEMAPHORE_COMMANDS = {
    **dict.fromkeys((_GETPID, _GETVAL, _GETALL, _GETNCNT, _GETZCNT), _IPC_READS),
    **dict.fromkeys((_SETVAL, _SETALL), _IPC_WRITES),
}
_SEMBUF = Struct("=Hhh")
_OPERATIONS_LIMIT = 32768  # a bound for kernel.sem's SEMOPM
_ATTEMPTS = 16  # another process may make or remove the object meanwhile


class _SysvCommand:
    """A command of shmctl(2) and its like, about an object that is there.

    number      the command's
    """

    __slots__ = ("found", "number", "pointer", "thread", "who")

    def __init__(
        self,
        thread: int,
        number: int,
        pointer: int,
        found: SysvObject,
        who: Credentials,
    ) -> None:
        self.thread = thread
        self.number = number
        self.pointer = pointer
        self.found = found
        self.who = who

    def may_use(self, wanted: int) -> bool:
        """Tell whether the caller has the permissions ``wanted`` for the object."""
        return may_use_ipc(self.who, self.found.owners, self.found.mode, wanted)


def _use_semaphore_values(asked: _SysvCommand) -> Answer:
    """GETVAL, SETVAL and their like."""
    return CONTINUE if asked.may_use(_SEMAPHORE_COMMANDS[asked.number]) else -errno.EACCES


def _lock_segment(asked: _SysvCommand) -> Answer:
    """SHM_LOCK and SHM_UNLOCK."""
    return CONTINUE if may_lock_ipc(asked.who, asked.found.owners) else -errno.EPERM


class SysvHandlers:
    """Give System V objects owners."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._objects = state.sysv

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "shmget": lambda thread, args: self._get(thread, SEGMENTS, args[:3]),
            "semget": lambda thread, args: self._get(thread, SEMAPHORES, args[:3]),
            "msgget": lambda thread, args: self._get(thread, QUEUES, args[:2]),
            "shmctl": self.shmctl,
            "semctl": self.semctl,
            "msgctl": self.msgctl,
            "shmat": self.shmat,
            "semop": self.semop,
            "semtimedop": self.semop,
            "msgsnd": lambda thread, args: self._use(thread, QUEUES, args[0], _IPC_WRITES),
            "msgrcv": lambda thread, args: self._use(thread, QUEUES, args[0], _IPC_READS),
        }

    def _get(self, thread: int, kind: SysvKind, args: Arguments) -> Answer:
        """int shmget(key_t key, size_t size, int flags), and its like."""
        who = self._state.tags.credentials(thread)
        is_root = who.euid == who.egid == 0 and who.can(CAP_IPC_OWNER)
        if is_root or not self._objects.is_here(thread):
            return CONTINUE
        key, *sizes, flags = signed(args[0]), *args[1:-1], args[-1] & U32
        makes, is_new = flags & _IPC_CREAT, flags & _IPC_CREAT and flags & _IPC_EXCL
        for _ in range(_ATTEMPTS):
            if key != _IPC_PRIVATE:
                # Without flags the kernel finds an object whatever its mode.
                sought = [0] * len(sizes) if is_new else sizes
                number = self._objects.get(kind, key, *sought, 0)
                if number >= 0:
                    return -errno.EEXIST if is_new else self._found(kind, number, who, flags)
                if number != -errno.ENOENT or not makes:
                    return number
            number = self._objects.get(kind, key, *sizes, flags | _IPC_CREAT | _IPC_EXCL)
            if number == -errno.EEXIST:
                continue
            if number >= 0:
                maker = int(status_field(thread, b"NStgid").split()[-1])
                self._objects.enter(kind, number, who, maker)
            return number
        return CONTINUE

    def _found(self, kind: SysvKind, number: int, who: Credentials, flags: int) -> Answer:
        found = self._objects.look(kind, number)
        wanted = flags & _PERMISSION_BITS
        if found is not None and not may_use_ipc(who, found.owners, found.mode, wanted):
            return -errno.EACCES
        return number

    def shmctl(self, thread: int, args: Arguments) -> Answer:
        """int shmctl(int shmid, int command, struct shmid_ds *data)."""
        return self._control(thread, SEGMENTS, args)

    def semctl(self, thread: int, args: Arguments) -> Answer:
        """int semctl(int semid, int number, int command, union semun argument)."""
        return self._control(thread, SEMAPHORES, (args[0], *args[2:4]))

    def msgctl(self, thread: int, args: Arguments) -> Answer:
        """int msgctl(int msqid, int command, struct msqid_ds *data)."""
        return self._control(thread, QUEUES, args)

    def _control(self, thread: int, kind: SysvKind, args: Arguments) -> Answer:
        """Answer shmctl(2), semctl(2) or msgctl(2): identifier, command, pointer."""
        number, command, pointer = signed(args[0]), args[1] & U32 & ~IPC_64, args[2]
        answer = self._answer(kind, command)
        who = self._state.tags.credentials(thread)
        is_allowed = answer is _use_semaphore_values and who.can(CAP_IPC_OWNER)
        if answer is None or is_allowed or not self._objects.is_here(thread):
            return CONTINUE
        if command in (kind.stat, kind.stat_any):
            found = self._objects.look_at(kind, number)
        else:
            found = self._objects.look(kind, number)
        if found is None:
            return CONTINUE
        return answer(_SysvCommand(thread, command, pointer, found, who))

    def _answer(self, kind: SysvKind, command: int) -> Callable[[_SysvCommand], Answer] | None:
        """Return what answers ``command``; None if its answer depends on no owner."""
        if command in (IPC_STAT, kind.stat, kind.stat_any):
            return self._show
        if command in (IPC_SET, IPC_RMID):
            return self._set if command == IPC_SET else self._remove
        if kind is SEMAPHORES and command in _SEMAPHORE_COMMANDS:
            return _use_semaphore_values
        if kind is SEGMENTS and command in (_SHM_LOCK, _SHM_UNLOCK):
            return _lock_segment
        return None

    def _show(self, asked: _SysvCommand) -> Answer:
        """IPC_STAT, SHM_STAT, SHM_STAT_ANY, and their like."""
        thread, found = asked.thread, asked.found
        kind = found.kind
        if asked.number != kind.stat_any and not asked.may_use(_IPC_READS):
            return -errno.EACCES
        if shown_structure(found, None) == found.raw and found.mode & 0o400:
            return CONTINUE
        pids = None if self._objects.is_here(thread, b"pid") else ids_seen_by(thread)
        data = self.written(kind, shown_structure(found, pids))
        result = 0 if asked.number == IPC_STAT else found.number
        return self._state.memory.write(thread, asked.pointer, data) or result

    def _set(self, asked: _SysvCommand) -> Answer:
        """IPC_SET: owner and mode, and the size of a queue."""
        found = asked.found
        kind = found.kind
        uid, gid, mode, size = self.wanted(asked.thread, kind, asked.pointer)
        if not may_control_ipc(asked.who, found.owners):
            return -errno.EPERM
        if UNCHANGED in (uid, gid):
            return -errno.EINVAL
        data = bytearray(found.raw)
        key, *owners, _ = PERMISSION.unpack_from(data)
        PERMISSION.pack_into(data, 0, key, *owners, mode & _PERMISSION_BITS)
        if kind is QUEUES:
            QUEUE_BYTES.pack_into(data, QUEUE_BYTES_PLACE, size)
        result = self._objects.control(kind, found.number, IPC_SET, bytes(data))
        if result >= 0:
            self._objects.give(found, uid, gid)
        return result

    def _remove(self, asked: _SysvCommand) -> Answer:
        """IPC_RMID."""
        found = asked.found
        kind = found.kind
        if not may_control_ipc(asked.who, found.owners):
            return -errno.EPERM
        result = self._objects.control(kind, found.number, IPC_RMID)
        self._objects.forget(kind, found.number)
        return result

    def shmat(self, thread: int, args: Arguments) -> Answer:
        """void *shmat(int shmid, const void *address, int flags)."""
        flags = args[2] & U32
        wanted = _IPC_READS if flags & _SHM_RDONLY else _IPC_READS | _IPC_WRITES
        return self._use(thread, SEGMENTS, args[0], wanted | (0o111 if flags & _SHM_EXEC else 0))

    def semop(self, thread: int, args: Arguments) -> Answer:
        """int semop(int semid, struct sembuf *operations, size_t count), and semtimedop."""
        count = args[2] & U32
        if not 0 < count <= _OPERATIONS_LIMIT:
            return CONTINUE
        data = self._state.memory.read(thread, args[1], count * _SEMBUF.size)
        changes = any(change for _, change, _ in _SEMBUF.iter_unpack(data))
        return self._use(thread, SEMAPHORES, args[0], _IPC_WRITES if changes else _IPC_READS)

    def _use(self, thread: int, kind: SysvKind, register: int, wanted: int) -> Answer:
        """Refuse the call if the caller has not the permissions ``wanted`` for the object."""
        who = self._state.tags.credentials(thread)
        if who.can(CAP_IPC_OWNER) or not self._objects.is_here(thread):
            return CONTINUE
        found = self._objects.look(kind, signed(register))
        if found is None or may_use_ipc(who, found.owners, found.mode, wanted):
            return CONTINUE
        return -errno.EACCES

    def wanted(self, thread: int, kind: SysvKind, pointer: int) -> tuple[int, int, int, int]:
        """Return owner, group, mode and size that a structure of IPC_SET names."""
        memory = self._state.memory
        data = memory.read(thread, pointer, OWNERS_PLACE + PERMISSION.size)
        _, uid, gid, _, _, mode = PERMISSION.unpack_from(data)
        size = 0
        if kind is QUEUES:
            place = pointer + QUEUE_BYTES_PLACE
            (size,) = QUEUE_BYTES.unpack(memory.read(thread, place, QUEUE_BYTES.size))
        return uid, gid, mode, size

    def written(self, _kind: SysvKind, structure: bytes) -> bytes:
        """Return the kernel's ``structure`` in the form of the caller's ABI."""
        return structure
