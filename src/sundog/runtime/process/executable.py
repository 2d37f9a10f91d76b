"""The answer of execve(2) to a program, as far as it can be known before.

After the last step (``last_step``) nobody of ours is there to tell why a program can't be executed,
or to try the next directory of $PATH.  So each reason that a user meets is looked for before.

A program, its interpreter or its dynamic loader behind a link of /proc/PID is refused (ELOOP): such
a link leads to files that no mount of the container has.

Specifications: execve(2), elf(5), and the kernel's fs/binfmt_script.c.
"""

from __future__ import annotations

import errno
import os
import sys

from sundog.base.kernel.files import Closing, may_execute
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.base.kernel.numbers import ABIS
from sundog.base.record.magic import ELF_MAGIC
from sundog.errors import KernelError
from sundog.runtime.process.last_step import STEP_KINDS

_HEAD_SIZE = 4096  # bytes; most programs have their program headers there
SCRIPT_HEAD_SIZE = 256  # linux/binfmts.h, BINPRM_BUF_SIZE
INTERPRETERS_LIMIT = 5  # that are scripts: execve(2)
_BLANKS = b" \t"
_PROGRAM_TYPES = (2, 3)  # ET_EXEC, ET_DYN
_PT_INTERP = 3
# By the class of an ELF file: the bytes of an address, then the places of e_phoff and e_phentsize,
# and those of p_offset and p_filesz.
_ELF_PLACES = {1: (4, 28, 42, 4, 16), 2: (8, 32, 54, 8, 32)}


def expected_failure(path: bytes) -> int:
    """Return the errno with which execve(2) of ``path`` fails; 0 if it probably works.

    ENOEXEC means that this machine does not know the format.  binfmt_misc may know it.
    """
    for _ in range(INTERPRETERS_LIMIT + 1):
        try:
            head = _program_head(path)
            if head is None:
                return 0
            if head.startswith(b"#!"):
                path = _script_interpreter(head)
                if not path:
                    return errno.ENOEXEC
                continue
            if not is_own_program(head):
                return errno.ENOEXEC
            loader = dynamic_loader(head)
            if loader:
                _program_head(loader)
        except (KernelError, OSError) as error:
            return error.errno or 0
        return 0
    return errno.ELOOP


def loaded_program(path: bytes) -> tuple[bytes, bytes]:
    """Return the program that execve(2) of ``path`` loads, and its dynamic loader.

    That is the interpreter of a script.  The loader is b"" if there is none, or if nobody can tell.
    """
    for _ in range(INTERPRETERS_LIMIT + 1):
        try:
            head = _program_head(path) or b""
        except (KernelError, OSError):
            break
        if not head.startswith(b"#!"):
            return path, dynamic_loader(head) if head.startswith(ELF_MAGIC) else b""
        path = _script_interpreter(head)
    return path, b""


def is_elf(path: bytes) -> bool:
    """Tell whether ``path`` is a program of this machine or of another one."""
    try:
        return (_program_head(path) or b"").startswith(ELF_MAGIC)
    except (KernelError, OSError):
        return False


def _program_head(path: bytes) -> bytes | None:
    """Return how a program begins, None if this process may execute it and not read it.

    Raises KernelError and OSError, as execve(2) fails.
    """
    # execve(2) does not execute a device or a FIFO, but opening one could keep this process
    # waiting.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd, readable = openat2(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS), True
    except KernelError:
        fd, readable = openat2(AT_FDCWD, path, os.O_PATH, RESOLVE_NO_MAGICLINKS), False
    with Closing(fd):
        if os.fstat(fd).st_mode & S_IFMT != S_IFREG or not may_execute(fd):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return os.read(fd, _HEAD_SIZE) if readable else None


def _script_interpreter(head: bytes) -> bytes:
    """Return the interpreter in the first line of a script; b"" if the kernel finds none."""
    line, end, _ = head[:SCRIPT_HEAD_SIZE].ljust(SCRIPT_HEAD_SIZE, b"\0")[2:].partition(b"\n")
    line, zero, _ = line.partition(b"\0")
    line = line.replace(b"\t", b" ").lstrip(b" ")
    name, blank, _ = line.partition(b" ")
    if zero and not name:
        return b"."  # the kernel opens an empty name, which is the working directory
    # Without an end, the name may be cut.
    return name if end or zero or blank else b""


def is_own_program(head: bytes) -> bool:
    """Tell whether a program is one for this machine."""
    kind, machine = (int.from_bytes(head[at : at + 2], sys.byteorder) for at in (16, 18))
    known = [STEP_KINDS[abi][0] for abi in ABIS.get(os.uname().machine, ()) if abi]
    is_program = head.startswith(ELF_MAGIC) and kind in _PROGRAM_TYPES
    return is_program and (machine in known or not known)


def dynamic_loader(head: bytes) -> bytes:
    """Return the dynamic loader that an ELF program names, b"" if it names none in its ``head``."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], sys.byteorder)

    if len(head) < 64 or head[4] not in _ELF_PLACES:
        return b""
    width, table, sizes, offset, length = _ELF_PLACES[head[4]]
    entry, count = number(sizes, 2), number(sizes + 2, 2)
    first = number(table, width)
    for at in range(first, min(first + entry * count, len(head)), entry or 1):
        if number(at, 4) == _PT_INTERP:
            start = number(at + offset, width)
            return head[start : start + number(at + length, width)].partition(b"\0")[0]
    return b""
