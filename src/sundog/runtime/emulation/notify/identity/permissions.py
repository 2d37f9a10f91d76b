"""Permissions on files and processes, and the mode after a change of owner.

The rules follow fs/attr.c, fs/inode.c, fs/namei.c and kernel/signal.c of Linux.  Each rule is a
function of values.
"""

from __future__ import annotations

from sundog.base.kernel.modes import (
    MODE_MASK,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_ISUID,
    S_ISVTX,
    S_IXGRP,
)
from sundog.runtime.emulation.notify.identity.capabilities import (
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_IPC_LOCK,
    CAP_IPC_OWNER,
    CAP_KILL,
    CAP_SYS_ADMIN,
)
from sundog.runtime.emulation.notify.identity.credentials import (
    SECBIT_NO_SETUID_FIXUP,
    UNCHANGED,
    Credentials,
)

# The access to a file that a process asks for; the bits are those of a mode's last digit.
MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
EXECUTABLE = 0o111


def may_change_owner(
    who: Credentials, owner: int, group: int, new_owner: int, new_group: int
) -> bool:
    """Tell whether chown(2) is allowed (fs/attr.c, chown_ok and chgrp_ok)."""
    if who.can(CAP_CHOWN):
        return True
    if new_owner != UNCHANGED and not who.fsuid == owner == new_owner:
        return False
    return new_group == UNCHANGED or (
        who.fsuid == owner and (new_group == group or who.is_member(new_group))
    )


def mode_after_chown(who: Credentials, mode: int, group: int, new_group: int) -> int:
    """Return the permissions of a file of ``mode`` after chown(2) (fs/attr.c, notify_change)."""
    permissions = mode & MODE_MASK
    if mode & S_IFMT == S_IFDIR:
        return permissions
    cleared = permissions & ~S_ISUID
    if permissions & S_IXGRP:
        return cleared & ~S_ISGID
    cleared = allowed_mode(who, cleared, group)
    if permissions & S_ISUID:
        cleared = allowed_mode(who, cleared, new_group)
    return cleared


def may_change_mode(who: Credentials, owner: int) -> bool:
    """Tell whether ``who`` may change the mode or an ACL of a file of ``owner``."""
    return who.fsuid == owner or who.can(CAP_FOWNER)


def allowed_mode(who: Credentials, mode: int, group: int) -> int:
    """Return ``mode``, without the set-group-ID bit if ``who`` may not set it for ``group``."""
    return mode if who.is_member(group) or who.can(CAP_FSETID) else mode & ~S_ISGID


def mode_allows(who: Credentials, owner: int, group: int, mode: int, wanted: int) -> bool:
    """Tell whether the permission bits alone allow ``wanted`` (fs/namei.c, acl_permission_check).

    ``wanted`` is a sum of MAY_EXEC, MAY_WRITE and MAY_READ.
    """
    if who.fsuid == owner:
        mode >>= 6
    elif who.is_member(group):
        mode >>= 3
    return not wanted & ~mode


def overrides_mode(who: Credentials, mode: int, wanted: int) -> bool:
    """Tell whether a capability allows what permission bits refuse (generic_permission)."""
    is_directory = mode & S_IFMT == S_IFDIR
    reads = not wanted & MAY_WRITE if is_directory else wanted == MAY_READ
    if reads and who.can(CAP_DAC_READ_SEARCH):
        return True
    runs = wanted & MAY_EXEC and not is_directory
    return who.can(CAP_DAC_OVERRIDE) and not (runs and not mode & EXECUTABLE)


def may_remove(who: Credentials, directory_mode: int, directory_owner: int, owner: int) -> bool:
    """Tell whether the sticky bit of a directory lets ``who`` remove a file (check_sticky)."""
    if not directory_mode & S_ISVTX or who.fsuid in (owner, directory_owner):
        return True
    return who.can(CAP_FOWNER)


def is_safe_to_link(mode: int) -> bool:
    """Tell whether fs.protected_hardlinks allows links to others' files of ``mode``.

    The file must also be readable and writable for who makes the link (safe_hardlink_source).
    """
    runs_as_group = mode & S_ISGID and mode & S_IXGRP
    return mode & S_IFMT == S_IFREG and not mode & S_ISUID and not runs_as_group


def may_signal(who: Credentials, target: Credentials) -> bool:
    """Tell whether ``who`` may signal a process (kernel/signal.c, kill_ok_by_cred).

    A process may signal itself, and SIGCONT may go to each process of its session.
    """
    targets = (target.suid, target.ruid)
    return who.euid in targets or who.ruid in targets or who.can(CAP_KILL)


def may_use_ipc(
    who: Credentials, owners: tuple[int, int, int, int], mode: int, wanted: int
) -> bool:
    """Tell whether ``who`` may use a System V object (ipc/util.c, ipcperms).

    ``owners`` are its owner, group, creator and creator's group; ``wanted`` are bits of a mode, of
    which it does not matter to whom they belong.
    """
    uid, gid, creator, creators_group = owners
    needed = (wanted >> 6 | wanted >> 3 | wanted) & 7
    if who.euid in (uid, creator):
        mode >>= 6
    elif who.is_member(creators_group) or who.is_member(gid):
        mode >>= 3
    return not needed & ~mode or who.can(CAP_IPC_OWNER)


def may_control_ipc(who: Credentials, owners: tuple[int, int, int, int]) -> bool:
    """Tell whether ``who`` may change or remove a System V object (ipcctl_obtain_check)."""
    return who.euid in (owners[0], owners[2]) or who.can(CAP_SYS_ADMIN)


def may_lock_ipc(who: Credentials, owners: tuple[int, int, int, int]) -> bool:
    """Tell whether ``who`` may lock a segment into memory (ipc/shm.c, ksys_shmctl)."""
    return who.euid in (owners[0], owners[2]) or who.can(CAP_IPC_LOCK)


def for_access(who: Credentials) -> Credentials:
    """Return the credentials by which access(2) judges (fs/open.c, access_override_creds)."""
    effective = who.effective
    if not who.securebits & SECBIT_NO_SETUID_FIXUP:
        effective = who.permitted if who.ruid == 0 else 0
    return who.replace(fsuid=who.ruid, fsgid=who.rgid, effective=effective)
