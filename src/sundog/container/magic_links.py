"""Keep an image from executing files that are not its own, by the links in /proc to open files.

Until a process has become a command, its /proc/self/exe is Sundog's interpreter.  An image can have
an entry point, or an interpreter of it, that is a link there.  It would execute Sundog's
interpreter with the image's own dynamic loader, and could then change the file on the host
(CVE-2019-5736).  The kernel follows such a link even if no mount of the container has the file.

Floor 0.
"""

import errno
import os

from sundog.errors import KernelError
from sundog.kernel.files import Closing
from sundog.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2

# linux/binfmts.h, BINPRM_BUF_SIZE; and the depth of interpreters that are scripts: execve(2).
FIRST_BYTES = 256
MOST_INTERPRETERS = 6
BLANKS = b" \t"


def refusal_to_execute(program: bytes) -> int:
    """Return ELOOP if execve(2) of ``program`` needs a link of /proc/PID, for it or an interpreter.

    Returns EACCES if this can't be found out: ``program`` is another user's and unreadable, while
    the file at stake is this user's.  Returns 0 otherwise, also if there is no such program.
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
    """Return the interpreter in the first line of a script; b"" if it is not a script.

    Raises KernelError, with ELOOP if a link of /proc/PID leads to ``program``.
    """
    os.close(openat2(AT_FDCWD, program, os.O_PATH, RESOLVE_NO_MAGICLINKS))
    # execve(2) does not execute a device or a FIFO, but opening one could keep this process
    # waiting.
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
