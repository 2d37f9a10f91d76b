"""The /etc/passwd and /etc/group that a container gets: one user, one group, and who must exist.

Made on the host, before the namespaces, because the host's name service may ask a daemon.

Floor 0.
"""

import pwd

from sundog.launcher.inherited import encode_text
from sundog.launcher.messages import Messages

NOBODY = 65534  # what the kernel shows for IDs that are not mapped: user_namespaces(7)


def passwd_text(uid: int, gid: int, messages: Messages) -> bytes:
    """Return an /etc/passwd for a container whose user is ``uid`` and ``gid``."""
    name, comment = user_names(uid, messages)
    lines = [b"%s:x:%d:%d:%s:/:/bin/sh\n" % (encode_text(name), uid, gid, encode_text(comment))]
    if uid != NOBODY:
        lines.insert(0, b"nobody:x:%d:%d:nobody:/:/bin/false\n" % (NOBODY, NOBODY))
    if uid != 0:
        lines.insert(0, b"root:x:0:0:root:/root:/bin/sh\n")
    return b"".join(lines)


def group_text(gid: int, messages: Messages) -> bytes:
    """Return an /etc/group for a container whose group is ``gid``."""
    lines = [b"%s:x:%d:\n" % (encode_text(group_name(gid, messages)), gid)]
    if gid != NOBODY:
        lines.insert(0, b"nogroup:x:%d:\n" % NOBODY)
    if gid != 0:
        lines.insert(0, b"root:x:0:\n")
    return b"".join(lines)


def user_names(uid: int, messages: Messages) -> tuple[str, str]:
    """Return the host's login name and comment of ``uid``, or those that stand in for them."""
    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        messages.verbose(f"UID {uid} not found; using dummy info")
        return "charlie", "Charlie"
    return entry.pw_name, entry.pw_gecos


def group_name(gid: int, messages: Messages) -> str:
    """Return the host's name of ``gid``, or one that stands in for it."""
    import grp  # noqa: PLC0415 - a file of its own: not wanted with --no-passwd

    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        messages.verbose(f"GID {gid} not found; using dummy info")
        return "charliegroup"
