"""System V IPC: objects have owners, and others are refused what the kernel would refuse.

The rules follow ipc/util.c, ipc/shm.c, ipc/sem.c and ipc/msg.c of Linux.  The supervisor makes the
objects of other users than root itself, because then it knows their identifiers.  semop(2),
msgsnd(2) and msgrcv(2) are notified under ``strict`` only: programs call them as often as read(2).
"""

import errno
from _struct import Struct

from sundog.emulation.notify.identity.capabilities import CAP_IPC_OWNER
from sundog.emulation.notify.identity.credentials import UNCHANGED, Credentials
from sundog.emulation.notify.identity.permissions import (
    may_control_ipc,
    may_lock_ipc,
    may_use_ipc,
)
from sundog.emulation.notify.state.state import State
from sundog.emulation.notify.state.sysv import (
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
from sundog.emulation.notify.tracee.call import CONTINUE, U32, Answer, signed
from sundog.emulation.notify.tracee.descriptors import ids_seen_by, status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.emulation.notify.tracee.call import Arguments, Handler

IPC_PRIVATE = 0
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
IPC_64 = 0x100  # in commands of ipc(2)
PERMISSION_BITS = 0o777
IPC_READS, IPC_WRITES = 0o444, 0o222
SHM_RDONLY, SHM_EXEC = 0o10000, 0o100000
SHM_LOCK, SHM_UNLOCK = 11, 12
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = range(11, 18)
# What else a command needs: the permission bits.
SEMAPHORE_COMMANDS = {
    **dict.fromkeys((GETPID, GETVAL, GETALL, GETNCNT, GETZCNT), IPC_READS),
    **dict.fromkeys((SETVAL, SETALL), IPC_WRITES),
}
SEMBUF = Struct("=Hhh")
MAX_OPERATIONS = 32768  # a bound for kernel.sem's SEMOPM
ATTEMPTS = 16  # another process may make or remove the object meanwhile


class SysvHandlers:
    """Give System V objects owners."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._objects = state.sysv

    def calls(self) -> "dict[str, Handler]":
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
            "msgsnd": lambda thread, args: self._use(thread, QUEUES, args[0], IPC_WRITES),
            "msgrcv": lambda thread, args: self._use(thread, QUEUES, args[0], IPC_READS),
        }

    def _get(self, thread: int, kind: SysvKind, args: "Arguments") -> Answer:
        """int shmget(key_t key, size_t size, int flags), and its like."""
        who = self._state.tags.credentials(thread)
        is_root = who.euid == who.egid == 0 and who.can(CAP_IPC_OWNER)
        if is_root or not self._objects.is_here(thread):
            return CONTINUE
        key, *sizes, flags = signed(args[0]), *args[1:-1], args[-1] & U32
        makes, is_new = flags & IPC_CREAT, flags & IPC_CREAT and flags & IPC_EXCL
        for _ in range(ATTEMPTS):
            if key != IPC_PRIVATE:
                # Without flags the kernel finds an object whatever its mode.
                sought = [0] * len(sizes) if is_new else sizes
                number = self._objects.get(kind, key, *sought, 0)
                if number >= 0:
                    return -errno.EEXIST if is_new else self._found(kind, number, who, flags)
                if number != -errno.ENOENT or not makes:
                    return number
            number = self._objects.get(kind, key, *sizes, flags | IPC_CREAT | IPC_EXCL)
            if number == -errno.EEXIST:
                continue
            if number >= 0:
                maker = int(status_field(thread, b"NStgid").split()[-1])
                self._objects.enter(kind, number, who, maker)
            return number
        return CONTINUE

    def _found(self, kind: SysvKind, number: int, who: Credentials, flags: int) -> Answer:
        found = self._objects.look(kind, number)
        wanted = flags & PERMISSION_BITS
        if found is not None and not may_use_ipc(who, found.owners, found.mode, wanted):
            return -errno.EACCES
        return number

    def shmctl(self, thread: int, args: "Arguments") -> Answer:
        """int shmctl(int shmid, int command, struct shmid_ds *data)."""
        return self._control(thread, SEGMENTS, args[0], args[1], args[2])

    def semctl(self, thread: int, args: "Arguments") -> Answer:
        """int semctl(int semid, int number, int command, union semun argument)."""
        return self._control(thread, SEMAPHORES, args[0], args[2], args[3])

    def msgctl(self, thread: int, args: "Arguments") -> Answer:
        """int msgctl(int msqid, int command, struct msqid_ds *data)."""
        return self._control(thread, QUEUES, args[0], args[1], args[2])

    def _control(
        self, thread: int, kind: SysvKind, register: int, command: int, pointer: int
    ) -> Answer:
        number, command = signed(register), command & U32 & ~IPC_64
        action = self._action(kind, command)
        if action is None or not self._objects.is_here(thread):
            return CONTINUE
        look = self._objects.look_at if command in (kind.stat, kind.stat_any) else self._objects.look
        found = look(kind, number)
        if found is None:
            return CONTINUE
        who = self._state.tags.credentials(thread)
        return action(thread, kind, command, pointer, found, who)

    def _action(
        self, kind: SysvKind, command: int
    ) -> "Callable[[int, SysvKind, int, int, SysvObject, Credentials], Answer] | None":
        """Return what answers ``command``; None if its answer depends on no owner."""
        if command in (IPC_STAT, kind.stat, kind.stat_any):
            return self._show
        if command in (IPC_SET, IPC_RMID):
            return self._set if command == IPC_SET else self._remove
        if kind is SEMAPHORES and command in SEMAPHORE_COMMANDS:
            return self._use_values
        if kind is SEGMENTS and command in (SHM_LOCK, SHM_UNLOCK):
            return self._lock
        return None

    def _show(
        self,
        thread: int,
        kind: SysvKind,
        command: int,
        pointer: int,
        found: SysvObject,
        who: Credentials,
    ) -> Answer:
        """IPC_STAT, SHM_STAT, SHM_STAT_ANY, and their like."""
        if command != kind.stat_any and not may_use_ipc(who, found.owners, found.mode, IPC_READS):
            return -errno.EACCES
        if shown_structure(found, kind, None) == found.raw and found.mode & 0o400:
            return CONTINUE
        pids = None if self._objects.is_here(thread, b"pid") else ids_seen_by(thread)
        data = self.written(kind, shown_structure(found, kind, pids))
        result = 0 if command == IPC_STAT else found.number
        return self._state.memory.write(thread, pointer, data) or result

    def _set(
        self,
        thread: int,
        kind: SysvKind,
        _command: int,
        pointer: int,
        found: SysvObject,
        who: Credentials,
    ) -> Answer:
        """IPC_SET: owner and mode, and the size of a queue."""
        uid, gid, mode, size = self.wanted(thread, kind, pointer)
        if not may_control_ipc(who, found.owners):
            return -errno.EPERM
        if UNCHANGED in (uid, gid):
            return -errno.EINVAL
        data = bytearray(found.raw)
        key, *owners, _ = PERMISSION.unpack_from(data)
        PERMISSION.pack_into(data, 0, key, *owners, mode & PERMISSION_BITS)
        if kind is QUEUES:
            QUEUE_BYTES.pack_into(data, QUEUE_BYTES_PLACE, size)
        result = self._objects.control(kind, found.number, IPC_SET, bytes(data))
        if result >= 0:
            self._objects.give(kind, found, uid, gid)
        return result

    def _remove(
        self,
        _thread: int,
        kind: SysvKind,
        _command: int,
        _pointer: int,
        found: SysvObject,
        who: Credentials,
    ) -> Answer:
        """IPC_RMID."""
        if not may_control_ipc(who, found.owners):
            return -errno.EPERM
        result = self._objects.control(kind, found.number, IPC_RMID)
        self._objects.forget(kind, found.number)
        return result

    def _lock(
        self,
        _thread: int,
        _kind: SysvKind,
        _command: int,
        _pointer: int,
        found: SysvObject,
        who: Credentials,
    ) -> Answer:
        """SHM_LOCK and SHM_UNLOCK."""
        return CONTINUE if may_lock_ipc(who, found.owners) else -errno.EPERM

    def _use_values(
        self,
        _thread: int,
        _kind: SysvKind,
        command: int,
        _pointer: int,
        found: SysvObject,
        who: Credentials,
    ) -> Answer:
        """GETVAL, SETVAL and their like."""
        wanted = SEMAPHORE_COMMANDS[command]
        return CONTINUE if may_use_ipc(who, found.owners, found.mode, wanted) else -errno.EACCES

    def shmat(self, thread: int, args: "Arguments") -> Answer:
        """void *shmat(int shmid, const void *address, int flags)."""
        flags = args[2] & U32
        wanted = IPC_READS if flags & SHM_RDONLY else IPC_READS | IPC_WRITES
        return self._use(thread, SEGMENTS, args[0], wanted | (0o111 if flags & SHM_EXEC else 0))

    def semop(self, thread: int, args: "Arguments") -> Answer:
        """int semop(int semid, struct sembuf *operations, size_t count), and semtimedop."""
        count = args[2] & U32
        if not 0 < count <= MAX_OPERATIONS:
            return CONTINUE
        data = self._state.memory.read(thread, args[1], count * SEMBUF.size)
        changes = any(change for _, change, _ in SEMBUF.iter_unpack(data))
        return self._use(thread, SEMAPHORES, args[0], IPC_WRITES if changes else IPC_READS)

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
