"""Who may change owners and modes, and what a change of owner does to the mode.

The rules follow fs/attr.c and fs/inode.c of Linux.  Each rule is a function of values.
"""

from sundog.emulation.notify.identity.capabilities import CAP_CHOWN, CAP_FOWNER, CAP_FSETID
from sundog.emulation.notify.identity.credentials import UNCHANGED, Credentials
from sundog.kernel.modes import MODE_MASK, S_IFDIR, S_IFMT, S_ISGID, S_ISUID, S_IXGRP


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
