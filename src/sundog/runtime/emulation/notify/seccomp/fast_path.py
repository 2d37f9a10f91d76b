"""The calls that programs may make without asking the supervisor, from one instruction.

The library of the fast path (``native/fast_path``) makes a call by that instruction if it knows
that the supervisor would leave the call to the kernel.  The loader puts the library where it wants
to be, or else the filter notifies all of its calls.  Any program may jump to the instruction.  Then
it sees the kernel's truth, and deceives itself alone.  So no call is here that can change an
identity, the root directory, or mounts.  execve(2) can't, by this instruction: a program with
set-ID bits starts with the identity that the process has.
"""

from __future__ import annotations

# In the library, at addresses that no program uses: LIBRARY_PLACE is that of the file's first byte,
# and FAST_PLACE that of a function which makes any call.  PAGE_PLACE is that of the shared part.
LIBRARY_PLACE = 0x2D0000000000
FAST_PLACE = LIBRARY_PLACE + 0x2000
PAGE_PLACE = LIBRARY_PLACE + 0x8000
# seccomp(2) sees the address after the instruction.
_INSTRUCTION_END = 20
FAST_POINTER = FAST_PLACE + _INSTRUCTION_END

# getrlimit(2) tells the library which identity the process has, and sets nothing.
FAST_CALLS = (
    *("stat", "lstat", "fstat", "newfstatat", "statx", "getdents64"),
    *("access", "faccessat", "faccessat2", "chdir", "fchdir", "open", "openat"),
    *("mkdir", "mkdirat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"),
    *("utime", "utimes", "futimesat", "utimensat", "execve", "getrlimit"),
)

# The machines whose libraries exist: the names of uname(2).
MACHINES = ("x86_64",)
