"""The /etc/passwd and /etc/group that a container gets: one user, one group, and who must exist.

Made on the host, before the namespaces, because the host's name service may ask a daemon.

Floor 0.  The C library is asked directly: the module ``grp`` is in many builds of Python a file of
its own, and both it and ``pwd`` would decode what is wanted as bytes.
"""

from _ctypes import dlsym, sizeof

from sundog.kernel.libc import LIBC_HANDLE, CharPointer, Long, SyscallFunction
from sundog.launcher.messages import Messages

NOBODY = 65534  # what the kernel shows for IDs that are not mapped: user_namespaces(7)

# struct passwd begins: char *pw_name, *pw_passwd; uid_t pw_uid; gid_t pw_gid; char *pw_gecos.
# struct group begins: char *gr_name.
GECOS_OFFSET = 2 * sizeof(CharPointer) + 8


def passwd_text(uid: int, gid: int, messages: Messages) -> bytes:
    """Return an /etc/passwd for a container whose user is ``uid`` and ``gid``."""
    name, comment = user_names(uid, messages)
    lines = [b"%s:x:%d:%d:%s:/:/bin/sh\n" % (name, uid, gid, comment)]
    if uid != NOBODY:
        lines.insert(0, b"nobody:x:%d:%d:nobody:/:/bin/false\n" % (NOBODY, NOBODY))
    if uid != 0:
        lines.insert(0, b"root:x:0:0:root:/root:/bin/sh\n")
    return b"".join(lines)


def group_text(gid: int, messages: Messages) -> bytes:
    """Return an /etc/group for a container whose group is ``gid``."""
    lines = [b"%s:x:%d:\n" % (group_name(gid, messages), gid)]
    if gid != NOBODY:
        lines.insert(0, b"nogroup:x:%d:\n" % NOBODY)
    if gid != 0:
        lines.insert(0, b"root:x:0:\n")
    return b"".join(lines)


def user_names(uid: int, messages: Messages) -> tuple[bytes, bytes]:
    """Return the host's login name and comment of ``uid``, or those that stand in for them."""
    entry = name_service("getpwuid", uid)
    if not entry:
        messages.verbose(f"UID {uid} not found; using dummy info")
        return b"charlie", b"Charlie"
    return string_at(entry), string_at(entry + GECOS_OFFSET)


def group_name(gid: int, messages: Messages) -> bytes:
    """Return the host's name of ``gid``, or one that stands in for it."""
    entry = name_service("getgrgid", gid)
    if not entry:
        messages.verbose(f"GID {gid} not found; using dummy info")
        return b"charliegroup"
    return string_at(entry)


def name_service(function: str, number: int) -> int:
    """Return the address of the C library's record of an ID, or 0 where it knows none."""
    # A pointer is as wide as a long, which is what this type of function returns.
    address: int = SyscallFunction(dlsym(LIBC_HANDLE, function))(Long(number))
    return address


def string_at(address: int) -> bytes:
    """Return the string to which the pointer at ``address`` points."""
    return CharPointer.from_address(address).value or b""
