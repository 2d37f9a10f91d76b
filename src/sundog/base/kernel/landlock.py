"""Confine the signals and abstract sockets of a process to itself and its children: landlock(7).

Files and ports stay unrestricted.
"""

from __future__ import annotations

import errno

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import checked, syscall, u64_struct
from sundog.base.kernel.numbers import LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF

_LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1
LANDLOCK_SCOPE_SIGNAL = 2
LANDLOCK_SCOPES = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL

# The version of the kernel's interface that has scopes: Linux 6.12.
SCOPED_ABI = 6


def landlock_abi() -> int:
    """Return the version of Landlock's interface, or a negated errno if the kernel has none."""
    return syscall(LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)


def scope(scopes: int) -> bool:
    """Let this process and its children connect to and signal only each other, for good.

    ``scopes`` are LANDLOCK_SCOPE_*.  The caller has set no_new_privs.  Returns False if the kernel
    has no scopes, or if 16 rulesets confine this process already.  Raises KernelError if the kernel
    refuses for another reason.
    """
    if landlock_abi() < SCOPED_ABI:
        return False
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped.
    attributes = u64_struct(0, 0, scopes)
    result = syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    with Closing(checked(result, "landlock_create_ruleset", b"ruleset")) as ruleset:
        result = syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    if result == -errno.E2BIG:
        return False
    checked(result, "landlock_restrict_self", b"ruleset")
    return True
