"""Where the storage directory is when no option says so.

``$CH_IMAGE_STORAGE``, else ``/var/tmp/$USER.sundog``; where ``$USER`` is unset, as in many
containers and cron jobs, the account name of the effective uid stands in for it, or the number.

Floor 0: imports the standard library's start-up modules only (``pwd`` when it is needed).
"""

import os

from sundog.errors import SundogError
from sundog.kernel.libc import printable

STORAGE_VARIABLE = b"CH_IMAGE_STORAGE"
STORAGE_PARENT = b"/var/tmp/"
STORAGE_SUFFIX = b".sundog"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def default_storage(environment: "Mapping[bytes, bytes]") -> bytes:
    """Return the path of the storage directory that ``environment`` implies.

    Raises SundogError where the variable is relative: commands start in many directories.
    """
    named = environment.get(STORAGE_VARIABLE)
    if named:
        if not named.startswith(b"/"):
            raise SundogError(
                f"$CH_IMAGE_STORAGE: not absolute path: {printable(named)}",
                "--storage takes a relative one",
            )
        return named
    user = environment.get(b"USER", b"")
    if not user or b"/" in user:
        user = account_name(os.geteuid())
    return STORAGE_PARENT + user + STORAGE_SUFFIX


def account_name(uid: int) -> bytes:
    """Return the name of the account ``uid``, or its number where it has none."""
    import pwd  # noqa: PLC0415 - reads the C library's name service; seldom needed

    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return b"%d" % uid
