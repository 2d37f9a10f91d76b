"""Call the C library and the kernel through ``_ctypes``, and turn a failure into a KernelError.

``ctypes`` itself would cost each start 3 ms, so this module uses the extension module below it.
Results follow the kernel's own convention: zero or more, or a negated errno.  Only ``checked``
raises.
"""

from __future__ import annotations

import os
import sys

from sundog.base.cpython import (
    FUNCFLAG_CDECL,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)
from sundog.errors import KernelError


class Int(_SimpleCData):  # type: ignore[type-arg]
    """C's ``int``."""

    _type_ = "i"


class Long(_SimpleCData):  # type: ignore[type-arg]
    """C's ``long``.  ``_ctypes`` would pass a plain Python int as a 32-bit ``int``."""

    _type_ = "l"


class _Char(_SimpleCData):  # type: ignore[type-arg]
    """C's ``char``."""

    _type_ = "c"


class CharPointer(_SimpleCData):  # type: ignore[type-arg]
    """C's ``char *`` to the contents of a bytes object, which it keeps alive."""

    _type_ = "z"


class _LibcFunction(CFuncPtr):
    """A function of the C library that returns an int and sets errno."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Int


class SyscallFunction(CFuncPtr):
    """The C library's syscall(2), which returns a long and sets errno."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Long


# This process itself: the interpreter, and the C library that it is linked with.
LIBC_HANDLE = dlopen(None, 0)  # type: ignore[arg-type]
_LIBC_FUNCTIONS: dict[str, _LibcFunction] = {}
_SYSCALL_FUNCTION = SyscallFunction(dlsym(LIBC_HANDLE, "syscall"))


def libc_call(name: str, *args: int | bytes | None) -> int:
    """Call the C library's function ``name``; return its result, or a negated errno.

    An int is passed as a long, bytes as a pointer to their first byte (a NUL follows the last),
    None as a null pointer.  The interpreter lock is released during the call.
    """
    function = _LIBC_FUNCTIONS.get(name)
    if function is None:
        function = _LIBC_FUNCTIONS[name] = _LibcFunction(dlsym(LIBC_HANDLE, name))
    return _negated_errno(function(*map(_as_word, args)))


def syscall(number: int, *args: int | bytes | None) -> int:
    """Make system call ``number``; arguments and result are those of libc_call."""
    return _negated_errno(_SYSCALL_FUNCTION(Long(number), *map(_as_word, args)))


def _as_word(arg: int | bytes | None) -> Long | bytes | None:
    """Return ``arg`` as an argument that fills a whole register."""
    return Long(arg) if isinstance(arg, int) else arg


def address(buffer: bytearray) -> int:
    """Return the address of ``buffer``, which must keep its length."""
    return addressof(_Char.from_buffer(buffer))


def _negated_errno(result: int) -> int:
    """Translate the C library's way to report an error, -1 and errno, into the kernel's."""
    return -get_errno() if result == -1 else result


def checked(result: int, call: str, subject: bytes | int, action: str = "") -> int:
    """Return ``result`` of ``call`` on ``subject``; raise KernelError if it is a negated errno."""
    if result < 0:
        raise kernel_error(call, subject, -result, action)
    return result


def kernel_error(call: str, subject: bytes | int, errno: int, action: str = "") -> KernelError:
    """Return the error that says "can't ``action``"; the default action is "``call`` ``subject``".

    ``subject`` is a path, another name, or an open file.  Callers also use it for an OSError that
    the kernel or the site may have caused, so that kernel.refusal explains it.
    """
    if isinstance(subject, int):
        subject = descriptor_path(subject)
    action = action or f"{call} {printable(subject)}"
    # Not os.fsdecode: each start of ch-run finds files missing, and needs ``os`` for nothing else.
    return KernelError(call, decode_text(subject), errno, f"can't {action}: {os.strerror(errno)}")


def encode_text(text: str) -> bytes:
    """Return the bytes that Python decoded to ``text``, such as an argument or a host's file name.

    Does what os.fsencode does, without the millisecond that the import of ``os`` takes.
    """
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def decode_text(data: bytes) -> str:
    """Return the text to which Python decodes ``data``: what os.fsdecode does, as above."""
    return data.decode(sys.getfilesystemencoding(), "surrogateescape")


def printable(name: bytes) -> str:
    """Return ``name`` as text for one line of a message: decoded, and escaped."""
    return escaped(name.decode("utf-8", "backslashreplace"))


def escaped(text: str, layout: str = "") -> str:
    """Return ``text`` as one line that people can be shown: ESC becomes ``\\x1b``.

    Only the code that prints for people calls this function.  Characters in ``layout`` stay: tabs,
    where they align text.  The function escapes what str.isprintable() rejects, which is Unicode's
    categories "Other" and "Separator" without the space:

    * what a terminal obeys: C0, DEL, C1
    * what reorders, hides or ends text: bidi and other format characters, U+2028, U+2029
    * what cannot be encoded: surrogates
    * what each font defines for itself: private use
    * what a terminal may know, but this Python does not: unassigned
    * blanks that look like a space

    All else stays, backslashes too.  So text that is escaped already stays as it is.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in layout else _escape_of(c) for c in text])


def _escape_of(character: str) -> str:
    """Return how Python writes ``character`` in ASCII; an undecodable byte is written as a byte."""
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(character)[1:-1]


def descriptor_path(fd: int) -> bytes:
    """Return the present name of the open file ``fd``, for a message."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:
        return b"file descriptor %d" % fd


def u64_struct(*values: int) -> bytes:
    """Lay out ``values`` as a C struct of 64-bit integers in this machine's byte order."""
    return b"".join([value.to_bytes(8, sys.byteorder) for value in values])
