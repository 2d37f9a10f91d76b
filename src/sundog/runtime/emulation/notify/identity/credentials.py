"""Emulated credentials of a process, and their changes: the kernel's rules as functions.

Specification: credentials(7), capabilities(7), setresuid(2) and its family, prctl(2); the order of
checks follows kernel/sys.c, kernel/groups.c and security/commoncap.c.  A function returns new
credentials, or a negated errno if the kernel would refuse.
"""

from __future__ import annotations

import errno

from sundog.runtime.emulation.notify.identity.capabilities import (
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    CAP_SYS_RESOURCE,
    FILE_SYSTEM_SET,
    FileCapabilities,
)

UNCHANGED = 0xFFFFFFFF  # (uid_t) -1
NGROUPS_MAX = 65536
RLIM64_INFINITY = (1 << 64) - 1

_SECBIT_NOROOT = 1 << 0
SECBIT_NO_SETUID_FIXUP = 1 << 2
SECBIT_KEEP_CAPS = 1 << 4
_SECBIT_KEEP_CAPS_LOCKED = 1 << 5
_SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6
_SECURE_ALL_BITS = 0b01010101
_SECURE_ALL_LOCKS = _SECURE_ALL_BITS << 1

_FIELDS = (
    "ruid",
    "euid",
    "suid",
    "fsuid",
    "rgid",
    "egid",
    "sgid",
    "fsgid",
    "groups",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
    "bounding",
    "securebits",
    "no_new_privs",
    "dumpable",
    "file_locks",
)


class Credentials:
    """The identity of a process.  Immutable.

    ruid, euid, suid, fsuid, rgid, egid, sgid, fsgid
            real, effective, saved and file system IDs
    groups  supplementary groups, in ascending order
    effective, permitted, inheritable, ambient, bounding
            capability sets
    securebits, no_new_privs, dumpable
            as prctl(2) has them; a process that is not ``dumpable`` has changed its IDs, and one
            that is may have said itself that it is not
    file_locks
            soft and hard limit of RLIMIT_LOCKS, which itself holds the tag
    """

    __slots__ = _FIELDS

    ruid: int
    euid: int
    suid: int
    fsuid: int
    rgid: int
    egid: int
    sgid: int
    fsgid: int
    groups: tuple[int, ...]
    effective: int
    permitted: int
    inheritable: int
    ambient: int
    bounding: int
    securebits: int
    no_new_privs: bool
    dumpable: bool
    file_locks: tuple[int, int]

    def __init__(self, *values: object) -> None:
        for field, value in zip(_FIELDS, values, strict=True):
            object.__setattr__(self, field, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} can't be changed")

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{f}={getattr(self, f)!r}' for f in _FIELDS)})"

    def values(self) -> tuple[object, ...]:
        """Return the values of all fields; equal credentials have equal values."""
        return tuple([getattr(self, field) for field in _FIELDS])

    def replace(self, **changes: object) -> Credentials:
        """Return these credentials with some fields changed."""
        return Credentials(*[changes.get(field, getattr(self, field)) for field in _FIELDS])

    def can(self, capability: int) -> bool:
        """Tell whether ``capability`` (CAP_*) is in the effective set."""
        return bool(self.effective & capability)

    def is_member(self, gid: int) -> bool:
        """Tell whether the process is a member of group ``gid`` for access to files."""
        return gid == self.fsgid or gid in self.groups


Change = Credentials | int


def superuser(capabilities: int) -> Credentials:
    """Return the identity of root with all ``capabilities``."""
    return user_credentials(0, 0, (0,), capabilities)


def user_credentials(uid: int, gid: int, groups: tuple[int, ...], capabilities: int) -> Credentials:
    """Return the identity of a user after login; only root holds the ``capabilities``."""
    held = capabilities if uid == 0 else 0
    ids = (uid, uid, uid, uid, gid, gid, gid, gid, tuple(sorted(groups)))
    unlimited = (RLIM64_INFINITY, RLIM64_INFINITY)
    return Credentials(*ids, held, held, 0, 0, capabilities, 0, False, True, unlimited)


def set_uid(old: Credentials, uid: int) -> Change:
    """setuid(2)."""
    if uid == UNCHANGED:
        return -errno.EINVAL
    if old.can(CAP_SETUID):
        new = old.replace(ruid=uid, euid=uid, suid=uid, fsuid=uid)
    elif uid in (old.ruid, old.suid):
        new = old.replace(euid=uid, fsuid=uid)
    else:
        return -errno.EPERM
    return _with_fixed_capabilities(old, new)


def set_reuid(old: Credentials, ruid: int, euid: int) -> Change:
    """setreuid(2)."""
    privileged = old.can(CAP_SETUID)
    if ruid != UNCHANGED and ruid not in (old.ruid, old.euid) and not privileged:
        return -errno.EPERM
    if euid != UNCHANGED and euid not in (old.ruid, old.euid, old.suid) and not privileged:
        return -errno.EPERM
    new_euid = old.euid if euid == UNCHANGED else euid
    saves = ruid != UNCHANGED or euid not in (UNCHANGED, old.ruid)
    new = old.replace(
        ruid=old.ruid if ruid == UNCHANGED else ruid,
        euid=new_euid,
        suid=new_euid if saves else old.suid,
        fsuid=new_euid,
    )
    return _with_fixed_capabilities(old, new)


def set_resuid(old: Credentials, ruid: int, euid: int, suid: int) -> Change:
    """setresuid(2)."""
    wanted = [
        before if after == UNCHANGED else after
        for before, after in ((old.ruid, ruid), (old.euid, euid), (old.suid, suid))
    ]
    if wanted == [old.ruid, old.euid, old.suid] and euid in (UNCHANGED, old.fsuid):
        return old
    if not old.can(CAP_SETUID) and not {*wanted} <= {old.ruid, old.euid, old.suid}:
        return -errno.EPERM
    new = old.replace(ruid=wanted[0], euid=wanted[1], suid=wanted[2], fsuid=wanted[1])
    return _with_fixed_capabilities(old, new)


def set_fsuid(old: Credentials, uid: int) -> Credentials:
    """setfsuid(2), which never fails."""
    allowed = uid in (old.ruid, old.euid, old.suid, old.fsuid) or old.can(CAP_SETUID)
    if uid in (UNCHANGED, old.fsuid) or not allowed:
        return old
    effective = old.effective
    if not old.securebits & SECBIT_NO_SETUID_FIXUP:
        if old.fsuid == 0:
            effective &= ~FILE_SYSTEM_SET
        elif uid == 0:
            effective |= old.permitted & FILE_SYSTEM_SET
    return old.replace(fsuid=uid, effective=effective)


def _with_fixed_capabilities(old: Credentials, new: Credentials) -> Credentials:
    """Return ``new``, with the change of capabilities as user IDs become 0 or cease to be 0."""
    if new.securebits & SECBIT_NO_SETUID_FIXUP:
        return new
    effective, permitted, ambient = new.effective, new.permitted, new.ambient
    if 0 in (old.ruid, old.euid, old.suid) and 0 not in (new.ruid, new.euid, new.suid):
        if not old.securebits & SECBIT_KEEP_CAPS:
            effective = permitted = 0
        ambient = 0
    if old.euid == 0 and new.euid != 0:
        effective = 0
    if old.euid != 0 and new.euid == 0:
        effective = permitted
    return new.replace(effective=effective, permitted=permitted, ambient=ambient)


def set_gid(old: Credentials, gid: int) -> Change:
    """setgid(2)."""
    if gid == UNCHANGED:
        return -errno.EINVAL
    if old.can(CAP_SETGID):
        return old.replace(rgid=gid, egid=gid, sgid=gid, fsgid=gid)
    if gid in (old.rgid, old.sgid):
        return old.replace(egid=gid, fsgid=gid)
    return -errno.EPERM


def set_regid(old: Credentials, rgid: int, egid: int) -> Change:
    """setregid(2)."""
    privileged = old.can(CAP_SETGID)
    if rgid != UNCHANGED and rgid not in (old.rgid, old.egid) and not privileged:
        return -errno.EPERM
    if egid != UNCHANGED and egid not in (old.rgid, old.egid, old.sgid) and not privileged:
        return -errno.EPERM
    new_egid = old.egid if egid == UNCHANGED else egid
    saves = rgid != UNCHANGED or egid not in (UNCHANGED, old.rgid)
    return old.replace(
        rgid=old.rgid if rgid == UNCHANGED else rgid,
        egid=new_egid,
        sgid=new_egid if saves else old.sgid,
        fsgid=new_egid,
    )


def set_resgid(old: Credentials, rgid: int, egid: int, sgid: int) -> Change:
    """setresgid(2)."""
    wanted = [
        before if after == UNCHANGED else after
        for before, after in ((old.rgid, rgid), (old.egid, egid), (old.sgid, sgid))
    ]
    if wanted == [old.rgid, old.egid, old.sgid] and egid in (UNCHANGED, old.fsgid):
        return old
    if not old.can(CAP_SETGID) and not {*wanted} <= {old.rgid, old.egid, old.sgid}:
        return -errno.EPERM
    return old.replace(rgid=wanted[0], egid=wanted[1], sgid=wanted[2], fsgid=wanted[1])


def set_fsgid(old: Credentials, gid: int) -> Credentials:
    """setfsgid(2), which never fails."""
    allowed = gid in (old.rgid, old.egid, old.sgid, old.fsgid) or old.can(CAP_SETGID)
    return old.replace(fsgid=gid) if gid != UNCHANGED and allowed else old


def set_capabilities(old: Credentials, effective: int, permitted: int, inheritable: int) -> Change:
    """capset(2)."""
    if not old.can(CAP_SETPCAP) and inheritable & ~(old.inheritable | old.permitted):
        return -errno.EPERM
    if inheritable & ~(old.inheritable | old.bounding):
        return -errno.EPERM
    if permitted & ~old.permitted or effective & ~permitted:
        return -errno.EPERM
    return old.replace(
        effective=effective,
        permitted=permitted,
        inheritable=inheritable,
        ambient=old.ambient & permitted & inheritable,
    )


def drop_from_bounding_set(old: Credentials, capability: int) -> Change:
    """prctl(PR_CAPBSET_DROP); 0 stands for a capability that does not exist."""
    if not old.can(CAP_SETPCAP):
        return -errno.EPERM
    if not capability:
        return -errno.EINVAL
    return old.replace(bounding=old.bounding & ~capability)


def set_securebits(old: Credentials, bits: int) -> Change:
    """prctl(PR_SET_SECUREBITS)."""
    locked = (old.securebits & _SECURE_ALL_LOCKS) >> 1
    if (
        locked & (old.securebits ^ bits)
        or old.securebits & _SECURE_ALL_LOCKS & ~bits
        or bits & ~(_SECURE_ALL_BITS | _SECURE_ALL_LOCKS)
        or not old.can(CAP_SETPCAP)
    ):
        return -errno.EPERM
    return old.replace(securebits=bits)


def set_keep_capabilities(old: Credentials, keep: int) -> Change:
    """prctl(PR_SET_KEEPCAPS)."""
    if keep > 1:
        return -errno.EINVAL
    if old.securebits & _SECBIT_KEEP_CAPS_LOCKED:
        return -errno.EPERM
    bits = old.securebits & ~SECBIT_KEEP_CAPS
    return old.replace(securebits=bits | (SECBIT_KEEP_CAPS if keep else 0))


def raise_ambient(old: Credentials, capability: int) -> Change:
    """prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE)."""
    if (
        not old.permitted & old.inheritable & capability
        or old.securebits & _SECBIT_NO_CAP_AMBIENT_RAISE
    ):
        return -errno.EPERM
    return old.replace(ambient=old.ambient | capability)


def committed(old: Credentials, new: Credentials) -> Credentials:
    """Return the ``new`` credentials as they are in force (kernel/cred.c, commit_creds)."""
    if (
        (old.euid, old.egid, old.fsuid, old.fsgid) == (new.euid, new.egid, new.fsuid, new.fsgid)
    ) and not new.permitted & ~old.permitted:
        return new
    return new.replace(dumpable=False)


def set_file_locks(who: Credentials, target: Credentials, soft: int, hard: int) -> Change:
    """Set RLIMIT_LOCKS of ``target`` as ``who`` may: setrlimit(2)."""
    if soft > hard:
        return -errno.EINVAL
    if hard > target.file_locks[1] and not who.can(CAP_SYS_RESOURCE):
        return -errno.EPERM
    return target.replace(file_locks=(soft, hard))


def may_limit(who: Credentials, target: Credentials) -> bool:
    """Tell whether ``who`` may use prlimit(2) on another process (check_prlimit_permission)."""
    users = {who.ruid} == {target.euid, target.suid, target.ruid}
    groups = {who.rgid} == {target.egid, target.sgid, target.rgid}
    return (users and groups) or who.can(CAP_SYS_RESOURCE)


def after_execve(
    old: Credentials,
    set_user: int | None,
    set_group: int | None,
    file: FileCapabilities | None,
    *,
    is_traced: bool = False,
) -> Change:
    """Return the identity after execve(2) of a program.

    ``set_user`` is the program's owner if its set-user-ID bit is on, ``set_group`` its group if its
    set-group-ID bit is on; ``file`` are the program's capabilities.  ``is_traced`` tells that a
    process without CAP_SYS_PTRACE traces this one.
    """
    if old.no_new_privs:
        set_user = set_group = None
    euid = old.euid if set_user is None else set_user
    egid = old.egid if set_group is None else set_group
    permitted, effective = 0, False
    if file is not None:
        permitted = old.bounding & file.permitted | old.inheritable & file.inheritable
        effective = file.effective
        if effective and file.permitted & ~permitted:
            return -errno.EPERM
    is_set_user_root = euid == 0 and old.ruid != 0
    if not old.securebits & _SECBIT_NOROOT and not (file is not None and is_set_user_root):
        if 0 in (euid, old.ruid):
            permitted = old.bounding | old.inheritable
        if euid == 0:
            effective = True
    changes_ids = euid != old.euid or not old.is_member(egid)
    if (old.no_new_privs or is_traced) and (changes_ids or permitted & ~old.permitted):
        # The process may gain nothing.  The kernel does not refuse the call, but gives less.
        permitted &= old.permitted
        if old.no_new_privs or not old.can(CAP_SETUID):
            euid, egid = old.ruid, old.rgid
    ambient = 0 if file is not None or changes_ids else old.ambient
    permitted |= ambient
    new = old.replace(
        euid=euid,
        suid=euid,
        fsuid=euid,
        egid=egid,
        sgid=egid,
        fsgid=egid,
        permitted=permitted,
        effective=permitted if effective else ambient,
        ambient=ambient,
        securebits=old.securebits & ~SECBIT_KEEP_CAPS,
        dumpable=(old.euid, old.egid) == (old.ruid, old.rgid),
    )
    return committed(old, new)


def gains(old: Credentials, new: Credentials) -> bool:
    """Tell whether execve(2) gives a process other IDs or more capabilities."""
    changes_ids = new.euid != old.euid or not old.is_member(new.egid)
    return changes_ids or bool(new.permitted & ~old.permitted)


def is_secure(old: Credentials, new: Credentials) -> bool:
    """Tell whether execve(2) sets AT_SECURE of getauxval(3) (cap_bprm_creds_from_file)."""
    return (
        (new.euid, new.egid) != (new.ruid, new.rgid)
        or new.euid != old.euid
        or not old.is_member(new.egid)
        or bool(new.ruid and (new.effective | new.permitted) & ~new.ambient)
    )
