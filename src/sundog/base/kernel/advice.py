"""An error as a command prints it: in words, with what to do and where to read more."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import descriptor_path, printable
from sundog.base.kernel.refusal import (
    FILE_SYSTEM_FAULTS,
    REFUSED,
    WANTED,
    explain,
    reason,
)
from sundog.errors import TRIES_ALL, KernelError, SundogError

_ANY_ERRNO = range(1, 4096)  # up to MAX_ERRNO of the kernel
# The calls and errnos that are about this machine, not about what the user asked for.
# ``ch-checkns`` tries these calls.
_TRIED = (
    (("unshare", "pivot_root", "prctl"), _ANY_ERRNO),
    (("mount",), (*REFUSED, errno.ENODEV, errno.EINVAL, errno.ENOSPC, errno.ENOSYS)),
    (("open_tree", "move_mount"), (errno.EPERM, errno.ENOSPC, errno.ENOSYS)),
    (("write",), REFUSED),  # of the ID maps
)


def advice(error: SundogError) -> str:
    """Return the hint to print with ``error``.

    It ends with the command that tries on this machine what has failed, if there is one.
    """
    hint, tried_by = hint_of(error), error.TRIED_BY
    if isinstance(error.__cause__, SundogError):  # it has the place in the Dockerfile, for one
        tried_by = tried_by or error.__cause__.TRIED_BY
    if isinstance(error, KernelError) and any(
        error.call in calls and error.errno in errnos for calls, errnos in _TRIED
    ):
        tried_by = TRIES_ALL
    return referring(hint, tried_by) if tried_by else hint


def explained(error: BaseException, what: str = "") -> SundogError:
    """Return ``error`` as a command prints it: ``in_words``, with ``advice`` for its hint."""
    worded = in_words(error, what)
    worded.hint = advice(worded)
    return worded


def hint_of(error: SundogError) -> str:
    """Return the hint of ``error``: its own, else the cause that ``explain`` finds."""
    hint: str = error.hint
    if not hint and isinstance(error, KernelError):
        hint = explain(error.call, error.errno, os.fsencode(error.subject))
    if not hint and isinstance(error.__cause__, OSError):
        hint = _cause_of(error.__cause__)
    return hint


def _cause_of(error: OSError) -> str:
    """Return the hint on ``error``: what ``explain`` finds about its file, or about a limit."""
    number, names = error.errno or 0, names_in(error)
    if names:
        return explain("open", number, names[-1])
    return explain("fork", number) if number in WANTED else ""


def in_words(error: BaseException, what: str = "") -> SundogError:
    """Return ``error`` as one for the user; ``what`` failed if that is an OSError.

    A SundogError is returned as it is, and an exception that nobody expects is a bug.
    """
    if isinstance(error, SundogError):
        return error
    if not isinstance(error, OSError):
        return SundogError(f"please report this bug: {type(error).__name__}: {error}")
    number, names = error.errno or 0, names_in(error)
    if not names or not number:
        wanted = WANTED.get(number, "")
        return SundogError(f"{what}{wanted}{error.strerror or error}", _cause_of(error))
    said = f"{' to '.join(map(printable, names))}: {reason(number, names[-1])}"
    # The message names the file system.  A relative name may be one below any directory.
    is_known = number in WANTED or names[-1].startswith(b"/")
    hint = _cause_of(error) if is_known and number not in FILE_SYSTEM_FAULTS else ""
    return SundogError(what + said, hint)


def names_in(error: OSError) -> list[bytes]:
    """Return the files that an OSError names, at most two; the last is the one to be made."""
    names = (name for name in (error.filename, error.filename2) if name is not None)
    return [descriptor_path(name) if isinstance(name, int) else os.fsencode(name) for name in names]


def referring(hint: str, tried_by: str = TRIES_ALL) -> str:
    """Return ``hint``, which may be "", with the command that tries what has failed."""
    return f"{hint} ({tried_by} says more)" if hint else f"{tried_by} says more"
