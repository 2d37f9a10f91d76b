"""The arguments by which calls name files.  Data, and how to read it."""

from __future__ import annotations

from sundog.base.kernel.mounts import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.tracee.call import U32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.runtime.emulation.notify.tracee.call import Arguments

_NONE = -1
_ATTRIBUTE_ACTIONS = ("setxattr", "getxattr", "listxattr", "removexattr")

# How calls name files.  For each file: the index of the argument that is the descriptor of a
# directory, _NONE for the working directory; and the index of the path's address, _NONE if the
# descriptor is the file.
_WAYS: dict[tuple[tuple[int, int], ...], tuple[str, ...]] = {
    ((_NONE, 0),): (
        *("stat", "lstat", "access", "chdir", "chroot", "execve", "open", "creat", "truncate"),
        *("chown", "lchown", "chmod", "utime", "utimes", "mkdir", "mknod", "rmdir", "unlink"),
        *_ATTRIBUTE_ACTIONS,
        *(f"l{action}" for action in _ATTRIBUTE_ACTIONS),
    ),
    ((_NONE, 1),): ("symlink",),
    ((_NONE, 0), (_NONE, 1)): ("link", "rename"),
    ((0, 1),): (
        *("newfstatat", "statx", "faccessat", "faccessat2", "openat", "openat2", "execveat"),
        *("fchownat", "fchmodat", "fchmodat2", "futimesat", "utimensat"),
        *("mkdirat", "mknodat", "unlinkat"),
        *(f"{action}at" for action in _ATTRIBUTE_ACTIONS),
    ),
    ((1, 2),): ("symlinkat",),
    ((0, 1), (2, 3)): ("linkat", "renameat", "renameat2"),
    ((0, _NONE),): (
        *("fstat", "fchown", "fchmod", "fchdir", "getdents", "getdents64", "fcntl"),
        *("getsockopt", "setsockopt", "connect", "sendto", "sendmsg", "sendmmsg"),
        *("recvmsg", "recvmmsg", "fsconfig"),
        *(f"f{action}" for action in _ATTRIBUTE_ACTIONS),
    ),
    # The path is in a structure.
    ((0, _NONE), (_NONE, 1)): ("bind",),
}
_WAY_OF = {call: way for way, calls in _WAYS.items() for call in calls}
_PATH_OFFSET = {"bind": 2}  # of sun_path in struct sockaddr_un

# These never follow a symbolic link at the end of a path.
_STAYING = frozenset(
    (
        *("lstat", "lchown", *(f"l{action}" for action in _ATTRIBUTE_ACTIONS)),
        *("mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link"),
        *("rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "bind"),
    )
)
# These follow none if the argument with this index has AT_SYMLINK_NOFOLLOW.
_FLAGS = {
    "newfstatat": 3,
    "statx": 2,
    "faccessat2": 3,
    "execveat": 4,
    "fchownat": 4,
    "fchmodat2": 3,
    "utimensat": 3,
    **{f"{action}at": 2 for action in _ATTRIBUTE_ACTIONS},
}
# How many arguments the most frequent calls have.  Beyond them, and in an argument that is no
# pointer, may be anything.
_COUNTS = {
    **dict.fromkeys(("getuid", "geteuid", "getgid", "getegid"), 0),
    **dict.fromkeys(("unlink", "rmdir", "chdir", "chroot"), 1),
    **dict.fromkeys(("stat", "lstat", "fstat", "access", "mkdir", "chmod", "rename"), 2),
    **dict.fromkeys(("open", "execve", "chown", "lchown", "faccessat", "rt_sigaction"), 3),
    **dict.fromkeys(("newfstatat", "openat", "faccessat2", "utimensat"), 4),
}


def used(call: str, args: Arguments) -> Arguments:
    """Return the arguments of ``call``, without the registers that are none if that is known."""
    return args[: _COUNTS.get(call, len(args))]


def named_files(call: str, args: Arguments) -> Iterator[tuple[int, int, bool]]:
    """Yield for each file that ``call`` names: a descriptor, the address of a path, and a flag.

    The address is 0 if the descriptor is the file.  The flag tells whether the call may follow a
    link at the end of the path.
    """
    follow = call not in _STAYING
    if call in _FLAGS and args[_FLAGS[call]] & AT_SYMLINK_NOFOLLOW:
        follow = False
    for dirfd, path in _WAY_OF.get(call, ()):
        address = 0 if path == _NONE or not args[path] else args[path] + _PATH_OFFSET.get(call, 0)
        yield (AT_FDCWD if dirfd == _NONE else args[dirfd]) & U32, address, follow
