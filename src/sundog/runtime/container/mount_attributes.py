"""The options of mounts as specifications write them: those of the mount, and those without effect.

Specification: runtime-spec, config.md "Linux mount options"; mount_setattr(2).
"""

from __future__ import annotations

from sundog.base.kernel.mounts import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
)

# Options that set an attribute of a mount; with "r" in front, of all mounts below it, too.
ATTRIBUTES = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
}
BINDS = ("bind", "rbind")
# Options without effect: the mount has them anyway, or they are about other mount namespaces.
IGNORED = frozenset(
    (
        *("async", "atime", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "loud"),
        *("lazytime", "mand", "noatime", "nodiratime", "noiversion", "nolazytime", "nomand"),
        *("norelatime", "nostrictatime", "private", "relatime", "rprivate", "rshared", "rslave"),
        *("runbindable", "rw", "shared", "silent", "slave", "strictatime", "suid", "sync"),
        *("symfollow", "unbindable", "rdev", "rexec", "rrelatime", "rrw", "rstrictatime", "rsuid"),
        *("ratime", "rdiratime", "rnorelatime", "rnostrictatime", "rsymfollow"),
        *("rnoatime", "rnodiratime"),
        "tmpcopyup",
    )
)
