"""Read and write the memory of a tracee: process_vm_readv(2), process_vm_writev(2).

A supervisor needs the right to trace the process (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS).
CAP_SYS_PTRACE in the tracee's user namespace gives that right, even over undumpable processes.

Every stat(2) of a tracee comes through here and through ``files``.  So calls of the C library are
as cheap as ``_ctypes`` allows, which is half of the usual cost: arguments have no declared type (a
Python int is C's int), byref() makes each pointer once, and the interpreter stays locked, because
the supervisor has one thread.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import (
    FUNCFLAG_CDECL,
    FUNCFLAG_PYTHONAPI,
    FUNCFLAG_USE_ERRNO,
    Array,
    CFuncPtr,
    _SimpleCData,
    addressof,
    byref,
    dlsym,
)
from sundog.base.kernel.libc import LIBC_HANDLE, Int
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH_MAX = 4096
TRANSFER_LIMIT = 1 << 16  # longer arguments, such as NGROUPS_MAX IDs, are read in pieces
_FIRST_READ = 256  # holds almost every path


class Byte(_SimpleCData):  # type: ignore[type-arg]
    """C's ``char``."""

    _type_ = "c"


class Word(_SimpleCData):  # type: ignore[type-arg]
    """C's ``unsigned long``."""

    _type_ = "L"


class QuickFunction(CFuncPtr):
    """A function of the C library that returns an int, called with the interpreter locked."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI | FUNCFLAG_USE_ERRNO
    _restype_ = Int


class Buffer(Array[Byte]):
    """Memory that the C library may fill; ``value`` is the text before the first NUL."""

    _type_ = Byte
    _length_ = TRANSFER_LIMIT


class _IoVector(Array[Word]):
    """One ``struct iovec``: base and length."""

    _type_ = Word
    _length_ = 2


class _TraceeFault(KernelAnswers):
    """The call has a bad pointer, or the caller has died."""


def quick_function(name: str) -> QuickFunction:
    """Return the C library's function ``name``."""
    return QuickFunction(dlsym(LIBC_HANDLE, name))


class Memory:
    """The memory of tracees, by thread ID."""

    def __init__(self) -> None:
        self._read = quick_function("process_vm_readv")
        self._write = quick_function("process_vm_writev")
        self._buffer: Any = Buffer()  # mypy knows only ctypes' own arrays
        self._view = memoryview(self._buffer).cast("B")
        # One pair of vectors for strings, of the constant length _FIRST_READ, and one for the rest.
        self._path_remote = _IoVector(0, _FIRST_READ)
        self._path_to = byref(_IoVector(addressof(self._buffer), _FIRST_READ))
        self._path_from = byref(self._path_remote)
        self._local = _IoVector(addressof(self._buffer), 0)
        self._remote = _IoVector(0, 0)
        self._vectors = byref(self._local), byref(self._remote)

    def read_string(self, thread: int, address: int) -> bytes:
        """Return the string at ``address`` without its NUL.

        Raises _TraceeFault, also if the string is longer than a path may be.
        """
        self._path_remote[0] = address
        got = self._read(thread, self._path_to, 1, self._path_from, 1, 0)
        text: bytes = self._buffer.value
        if len(text) < got:
            return text
        # The string is longer, or the page after it is not mapped.
        found = bytes(self._view[: max(got, 0)])
        while got > 0 and len(found) < PATH_MAX:
            address += got
            self._path_remote[0] = address
            got = self._read(thread, self._path_to, 1, self._path_from, 1, 0)
            piece, nul, _ = bytes(self._view[: max(got, 0)]).partition(b"\0")
            found += piece
            if nul:
                return found
        raise _TraceeFault

    def read(self, thread: int, address: int, length: int) -> bytes:
        """Return ``length`` bytes at ``address``.  Raises _TraceeFault."""
        if not length:
            return b""
        pieces = []
        while length > 0:
            part = min(length, TRANSFER_LIMIT)
            self._local[1] = self._remote[1] = part
            self._remote[0] = address
            if self._read(thread, self._vectors[0], 1, self._vectors[1], 1, 0) != part:
                raise _TraceeFault
            pieces.append(bytes(self._view[:part]))
            address += part
            length -= part
        return b"".join(pieces)

    def write(self, thread: int, address: int, data: bytes) -> int:
        """Write ``data`` at ``address``; return 0, or -EFAULT if a part can't be written."""
        for start in range(0, len(data), TRANSFER_LIMIT):
            part = data[start : start + TRANSFER_LIMIT]
            self._view[: len(part)] = part
            self._local[1] = self._remote[1] = len(part)
            self._remote[0] = address + start
            if self._write(thread, self._vectors[0], 1, self._vectors[1], 1, 0) != len(part):
                return -errno.EFAULT
        return 0
