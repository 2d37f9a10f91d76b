"""The hint of an error as a command prints it: what to do, and where to read more."""

import errno

from sundog.base.kernel.refusal import REFUSED, explain
from sundog.errors import TRIES_ALL, KernelError, SundogError

ANY_ERRNO = range(1, 4096)  # up to MAX_ERRNO of the kernel
# The calls and errnos that are about this machine, not about what the user asked for.
# ``ch-checkns`` tries these calls.
TRIED = (
    (("unshare", "pivot_root", "prctl"), ANY_ERRNO),
    (("mount",), (*REFUSED, errno.ENODEV, errno.EINVAL, errno.ENOSPC, errno.ENOSYS)),
    (("open_tree", "move_mount"), (errno.EPERM, errno.ENOSPC, errno.ENOSYS)),
    (("write",), REFUSED),  # of the ID maps
)


def advice(error: SundogError) -> str:
    """Return the hint to print with ``error``: its own, else the cause that ``explain`` finds.

    It ends with the command that tries on this machine what has failed, if there is one.
    """
    hint, tried_by = error.hint, error.TRIED_BY
    if isinstance(error.__cause__, SundogError):  # it has the place in the Dockerfile, for one
        tried_by = tried_by or error.__cause__.TRIED_BY
    if isinstance(error, KernelError):
        hint = hint or explain(error)
        if any(error.call in calls and error.errno in errnos for calls, errnos in TRIED):
            tried_by = TRIES_ALL
    return referring(hint, tried_by) if tried_by else hint


def referring(hint: str, tried_by: str = TRIES_ALL) -> str:
    """Return ``hint``, which may be "", with the command that tries what has failed."""
    return f"{hint} ({tried_by} says more)" if hint else f"{tried_by} says more"
