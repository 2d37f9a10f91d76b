"""Keep an image from executing what is not its own, by the links in /proc that lead to open files.

Until a process has become a command, its /proc/self/exe is the interpreter of Sundog's.  An image
whose entry point, or the interpreter of it, is a link there would have that executed, with the
image's own dynamic loader, and could from then on change the file on the host (CVE-2019-5736).
Such a link is followed by the kernel even where the file is in no mount of the container.

Floor 0.
"""

import errno
import os

from sundog.errors import KernelError
from sundog.kernel.files import Closing
from sundog.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2

# linux/binfmts.h, BINPRM_BUF_SIZE; and how often an interpreter may be a script: execve(2).
FIRST_BYTES = 256
MOST_INTERPRETERS = 6
BLANKS = b" \t"


def refusal_to_execute(program: bytes) -> int:
    """Return ELOOP if execve(2) of ``program`` needs a link of /proc/PID, for it or an interpreter.

    EACCES if nobody may know, because ``program`` is another user's and not to be read, while the
    file at stake is this user's; and 0 otherwise, also where there is no such program.
    """
    try:
        for _ in range(MOST_INTERPRETERS):
            program = script_interpreter(program)
            if not program:
                break
    except KernelError as error:
        if error.errno in (errno.ELOOP, errno.EACCES):
            return error.errno
    return 0


def script_interpreter(program: bytes) -> bytes:
    """Return the path in the first line of a script, b"" for what is none.

    Raises KernelError, with ELOOP where a link of /proc/PID leads to ``program``.
    """
    os.close(openat2(AT_FDCWD, program, os.O_PATH, RESOLVE_NO_MAGICLINKS))
    # A device or a FIFO is not executed, but could keep this process waiting.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = openat2(AT_FDCWD, program, flags, RESOLVE_NO_MAGICLINKS)
    except KernelError:
        if os.stat(b"/proc/self/exe").st_uid == os.geteuid():
            raise
        return b""
    with Closing(fd):
        try:
            first = os.read(fd, FIRST_BYTES)
        except OSError:
            return b""
    if not first.startswith(b"#!"):
        return b""
    line = first[2:].partition(b"\n")[0].partition(b"\0")[0].strip(BLANKS)
    return line.replace(b"\t", b" ").partition(b" ")[0]
