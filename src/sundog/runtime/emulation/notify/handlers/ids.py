"""Handlers of credentials: getuid(2), setresuid(2), capget(2), prctl(2) and their families.

``identity.credentials`` has the rules.  The handlers read arguments and write results.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct
from sundog.base.kernel.process import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS
from sundog.runtime.emulation.notify.identity.capabilities import CAP_SETGID
from sundog.runtime.emulation.notify.identity.credentials import (
    NGROUPS_MAX,
    SECBIT_KEEP_CAPS,
    UNCHANGED,
    Change,
    Credentials,
    committed,
    drop_from_bounding_set,
    raise_ambient,
    set_capabilities,
    set_fsgid,
    set_fsuid,
    set_gid,
    set_keep_capabilities,
    set_regid,
    set_resgid,
    set_resuid,
    set_reuid,
    set_securebits,
    set_uid,
)
from sundog.runtime.emulation.notify.seccomp.program import (
    PR_CAP_AMBIENT,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    PR_GET_DUMPABLE,
    PR_GET_KEEPCAPS,
    PR_GET_NO_NEW_PRIVS,
    PR_GET_SECUREBITS,
    PR_SET_KEEPCAPS,
    PR_SET_SECUREBITS,
)
from sundog.runtime.emulation.notify.state.files import ID, sysctl
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, signed
from sundog.runtime.emulation.notify.tracee.descriptors import inner_id
from sundog.runtime.emulation.notify.tracee.processes import Processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_CAPABILITY_HEADER = Struct("=Ii")  # version, pid
_CAPABILITY_DATA = Struct("=III")  # effective, permitted, inheritable: 32 capabilities
# _LINUX_CAPABILITY_VERSION_1 to 3: how many such structures there are.
_CAPABILITY_WORDS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}

_PR_CAP_AMBIENT_IS_SET, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_LOWER = 1, 2, 3
_PR_CAP_AMBIENT_CLEAR_ALL = 4


class IdentityHandlers:
    """Answer from a process's tag, and change it.

    ``id_form`` is an ID in the tracee's memory.
    """

    id_form = ID

    def __init__(self, state: State) -> None:
        self._memory = state.memory
        self._tags = state.tags
        self._table = state.tags.table
        self._index = state.tags.index
        self._processes = Processes()
        self._namespaces = state.user_namespaces
        self._valid = state.tags.table[0].bounding

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "getuid": self.getuid,
            "geteuid": self.geteuid,
            "getgid": self.getgid,
            "getegid": self.getegid,
            "getresuid": self.getresuid,
            "getresgid": self.getresgid,
            "getgroups": self.getgroups,
            "setuid": self.setuid,
            "setgid": self.setgid,
            "setreuid": self.setreuid,
            "setregid": self.setregid,
            "setresuid": self.setresuid,
            "setresgid": self.setresgid,
            "setfsuid": self.setfsuid,
            "setfsgid": self.setfsgid,
            "setgroups": self.setgroups,
            "capget": self.capget,
            "capset": self.capset,
            "prctl": self.prctl,
        }

    def shown(self, value: int) -> int:
        """Return the ID by which the calls show ``value``."""
        return value

    def meant(self, value: int) -> int:
        """Return the ID that a caller means by ``value``."""
        return value

    def getuid(self, thread: int, _args: Arguments) -> Answer:
        """uid_t getuid(void)."""
        return self._table[self._index(thread)].ruid

    def geteuid(self, thread: int, _args: Arguments) -> Answer:
        """uid_t geteuid(void)."""
        return self._table[self._index(thread)].euid

    def getgid(self, thread: int, _args: Arguments) -> Answer:
        """gid_t getgid(void)."""
        return self._table[self._index(thread)].rgid

    def getegid(self, thread: int, _args: Arguments) -> Answer:
        """gid_t getegid(void)."""
        return self._table[self._index(thread)].egid

    def getresuid(self, thread: int, args: Arguments) -> Answer:
        """int getresuid(uid_t *ruid, uid_t *euid, uid_t *suid)."""
        who = self._tags.credentials(thread)
        return self._write_ids(thread, args, (who.ruid, who.euid, who.suid))

    def getresgid(self, thread: int, args: Arguments) -> Answer:
        """int getresgid(gid_t *rgid, gid_t *egid, gid_t *sgid)."""
        who = self._tags.credentials(thread)
        return self._write_ids(thread, args, (who.rgid, who.egid, who.sgid))

    def _write_ids(self, thread: int, args: Arguments, ids: tuple[int, int, int]) -> int:
        for address, value in zip(args, ids, strict=False):
            if self._memory.write(thread, address, self.id_form.pack(self.shown(value))):
                return -errno.EFAULT
        return 0

    def getgroups(self, thread: int, args: Arguments) -> Answer:
        """int getgroups(int size, gid_t list[])."""
        groups = self._namespaces.groups(thread, self._tags.credentials(thread).groups)
        size = signed(args[0])
        if size < 0 or 0 < size < len(groups):
            return -errno.EINVAL
        if size:
            data = b"".join(self.id_form.pack(self.shown(gid)) for gid in groups)
            return self._memory.write(thread, args[1], data) or len(groups)
        return len(groups)

    def setuid(self, thread: int, args: Arguments) -> Answer:
        """int setuid(uid_t uid)."""
        old = self._tags.credentials(thread)
        return self._become(thread, old, set_uid(old, args[0] & U32))

    def setgid(self, thread: int, args: Arguments) -> Answer:
        """int setgid(gid_t gid)."""
        old = self._tags.credentials(thread)
        return self._become(thread, old, set_gid(old, args[0] & U32))

    def setreuid(self, thread: int, args: Arguments) -> Answer:
        """int setreuid(uid_t ruid, uid_t euid)."""
        old = self._tags.credentials(thread)
        return self._become(thread, old, set_reuid(old, args[0] & U32, args[1] & U32))

    def setregid(self, thread: int, args: Arguments) -> Answer:
        """int setregid(gid_t rgid, gid_t egid)."""
        old = self._tags.credentials(thread)
        return self._become(thread, old, set_regid(old, args[0] & U32, args[1] & U32))

    def setresuid(self, thread: int, args: Arguments) -> Answer:
        """int setresuid(uid_t ruid, uid_t euid, uid_t suid)."""
        old = self._tags.credentials(thread)
        ids = [arg & U32 for arg in args[:3]]
        return self._become(thread, old, set_resuid(old, *ids))

    def setresgid(self, thread: int, args: Arguments) -> Answer:
        """int setresgid(gid_t rgid, gid_t egid, gid_t sgid)."""
        old = self._tags.credentials(thread)
        ids = [arg & U32 for arg in args[:3]]
        return self._become(thread, old, set_resgid(old, *ids))

    def setfsuid(self, thread: int, args: Arguments) -> Answer:
        """int setfsuid(uid_t fsuid), which returns the previous one."""
        old = self._tags.credentials(thread)
        self._become(thread, old, set_fsuid(old, args[0] & U32))
        return old.fsuid

    def setfsgid(self, thread: int, args: Arguments) -> Answer:
        """int setfsgid(gid_t fsgid), which returns the previous one."""
        old = self._tags.credentials(thread)
        self._become(thread, old, set_fsgid(old, args[0] & U32))
        return old.fsgid

    def setgroups(self, thread: int, args: Arguments) -> Answer:
        """int setgroups(size_t size, const gid_t *list)."""
        old = self._tags.credentials(thread)
        size = args[0] & U32  # an int in the kernel
        if not old.can(CAP_SETGID):
            return -errno.EPERM
        if size > NGROUPS_MAX:
            return -errno.EINVAL
        data = self._memory.read(thread, args[1], size * self.id_form.size)
        groups = tuple(sorted(self.meant(gid) for (gid,) in self.id_form.iter_unpack(data)))
        if UNCHANGED in groups:
            return -errno.EINVAL
        return self._become(thread, old, old.replace(groups=groups))

    def capget(self, thread: int, args: Arguments) -> Answer:
        """int capget(cap_user_header_t header, cap_user_data_t data)."""
        if len(self._table) == 1 or not args[1]:
            return CONTINUE
        words, pid = self._capability_header(thread, args[0])
        if not words:
            return CONTINUE
        process = self._processes.find(thread, pid) if pid else thread
        if not process:
            return CONTINUE
        index = self._index(process)
        if index == 0:
            return CONTINUE
        who = self._table[index]
        sets = (who.effective, who.permitted, who.inheritable)
        data = b"".join(
            _CAPABILITY_DATA.pack(*[value >> 32 * word & U32 for value in sets])
            for word in range(words)
        )
        return self._memory.write(thread, args[1], data)

    def capset(self, thread: int, args: Arguments) -> Answer:
        """int capset(cap_user_header_t header, const cap_user_data_t data)."""
        words, pid = self._capability_header(thread, args[0])
        if not words or pid:
            return CONTINUE
        old = self._tags.credentials(thread)
        data = self._memory.read(thread, args[1], words * _CAPABILITY_DATA.size)
        sets = [0, 0, 0]
        for word, values in enumerate(_CAPABILITY_DATA.iter_unpack(data)):
            for which, value in enumerate(values):
                sets[which] |= value << 32 * word & self._valid
        return self._become(thread, old, set_capabilities(old, *sets))

    def _capability_header(self, thread: int, address: int) -> tuple[int, int]:
        """Return the number of structures that belong to the header at ``address``, and a process.

        The number is 0 if the kernel does not know the version.  The process is another one than
        the caller's, as the caller knows it, or 0.
        """
        header = self._memory.read(thread, address, _CAPABILITY_HEADER.size)
        version, pid = _CAPABILITY_HEADER.unpack(header)
        return _CAPABILITY_WORDS.get(version, 0), pid if pid != inner_id(thread) else 0

    def prctl(self, thread: int, args: Arguments) -> Answer:
        """int prctl(int option, ...), with the options that are about an identity."""
        old = self._tags.credentials(thread)
        option, *values = args[:5]
        option &= U32
        if option in (PR_GET_DUMPABLE, PR_SET_DUMPABLE):
            return self._dumpable(thread, old, option, values[0])
        if option == PR_GET_SECUREBITS:
            return old.securebits
        if option == PR_GET_KEEPCAPS:
            return int(bool(old.securebits & SECBIT_KEEP_CAPS))
        if option == PR_GET_NO_NEW_PRIVS:
            return -errno.EINVAL if any(values) else int(old.no_new_privs)
        if option in (PR_CAPBSET_READ, PR_CAPBSET_DROP):
            capability = self._capability(values[0])
            if option == PR_CAPBSET_DROP:
                return self._become(thread, old, drop_from_bounding_set(old, capability))
            return int(bool(old.bounding & capability)) if capability else -errno.EINVAL
        if option == PR_SET_KEEPCAPS:
            return self._become(thread, old, set_keep_capabilities(old, values[0]))
        if option == PR_SET_SECUREBITS:
            return self._become(thread, old, set_securebits(old, values[0]))
        if option == PR_SET_NO_NEW_PRIVS:
            if values != [1, 0, 0, 0]:
                return -errno.EINVAL
            return self._become(thread, old, old.replace(no_new_privs=True))
        if option == PR_CAP_AMBIENT:
            return self._ambient(thread, old, *values)
        return CONTINUE

    def _dumpable(self, thread: int, old: Credentials, option: int, value: int) -> Answer:
        """prctl(PR_GET_DUMPABLE) and prctl(PR_SET_DUMPABLE, value): the kernel keeps the value."""
        if old.dumpable:
            return CONTINUE
        if option == PR_GET_DUMPABLE:
            return sysctl(b"suid_dumpable")
        if value in (0, 1):
            self._tags.set(thread, old.replace(dumpable=True))
        return CONTINUE

    def _ambient(
        self, thread: int, old: Credentials, operation: int, number: int, *zeros: int
    ) -> Answer:
        """prctl(PR_CAP_AMBIENT, operation, capability, 0, 0)."""
        if operation == _PR_CAP_AMBIENT_CLEAR_ALL:
            if number or any(zeros):
                return -errno.EINVAL
            return self._become(thread, old, old.replace(ambient=0))
        capability = self._capability(number)
        if not capability or any(zeros):
            return -errno.EINVAL
        if operation == _PR_CAP_AMBIENT_IS_SET:
            return int(bool(old.ambient & capability))
        if operation == _PR_CAP_AMBIENT_RAISE:
            return self._become(thread, old, raise_ambient(old, capability))
        if operation == _PR_CAP_AMBIENT_LOWER:
            return self._become(thread, old, old.replace(ambient=old.ambient & ~capability))
        return -errno.EINVAL

    def _capability(self, number: int) -> int:
        """Return the set of the capability ``number``; 0 if there is no such capability."""
        return 1 << number & self._valid if number < 64 else 0

    def _become(self, thread: int, old: Credentials, change: Change) -> int:
        """Give the caller its new credentials; return 0 or a negated errno."""
        if isinstance(change, int):
            return change
        if change is not old and not self._tags.set(thread, committed(old, change)):
            return -errno.ENOMEM
        return 0
