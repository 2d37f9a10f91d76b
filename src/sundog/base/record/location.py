"""Names of the storage directory and of its parts, and names of accounts.

``configuration.storage`` chooses the storage directory.
"""

from __future__ import annotations

import os

from sundog.base.kernel.modes import S_IFLNK, S_IFMT

STORAGE_VARIABLE = b"CH_IMAGE_STORAGE"
USER_VARIABLE = b"USER"
STORAGE_PARENT = b"/var/tmp/"
STORAGE_SUFFIX = b".sundog"
STORAGE_VERSION = b"version"
RUN_DIRECTORY = b"run"  # in the storage directory: see ``state.place``
RUNTIME_VARIABLE = b"XDG_RUNTIME_DIR"
JOIN = b"join"  # in the place of run-time state: see ``launcher.join_place``
RUNTIME_NAME = b"sundog"  # in the directory that the variable names
OTHER_STORAGE_HINT = "choose another storage directory: --storage DIR or CH_IMAGE_STORAGE=DIR"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Variables(Protocol):
        """An environment."""

        def get(self, name: bytes, /) -> bytes | None:
            """Return the value of a variable."""


def local_user(environment: Variables) -> bytes:
    """Return the account's name: $USER if a line of /etc/passwd says so, else what the host says.

    So few commands need the host's accounts, which may be slow.  Without an account, it is $USER.
    """
    user = environment.get(USER_VARIABLE) or b""
    if not user or b"/" in user:
        return account_name(os.geteuid())
    if _is_local_name(user):
        return user
    name = account_name(os.geteuid())
    return user if name.isdigit() else name


def is_own_or_linked(path: bytes) -> bool:
    """Tell whether this user made ``path``, or root linked it to something of this user's."""
    uid = os.geteuid()
    try:
        status = os.lstat(path)
        is_roots = status.st_uid == 0 and status.st_mode & S_IFMT == S_IFLNK
        return (os.stat(path) if is_roots else status).st_uid == uid
    except OSError:  # nothing is there yet
        return False


def _is_local_name(user: bytes) -> bool:
    """Tell whether a line of /etc/passwd gives this name to the effective uid: passwd(5)."""
    try:
        with open("/etc/passwd", "rb") as file:
            for line in file:
                if line.startswith(user + b":"):
                    return line.split(b":")[2:3] == [b"%d" % os.geteuid()]
    except OSError:
        pass
    return False


def is_others_link(path: bytes) -> bool:
    """Tell whether ``path`` is a symbolic link that neither this user nor root made.

    Raises OSError if nothing is there.
    """
    status = os.lstat(path)
    return status.st_mode & S_IFMT == S_IFLNK and status.st_uid not in (os.geteuid(), 0)


def account_name(uid: int) -> bytes:
    """Return the name of the account ``uid``, or ``uid`` itself if no account has it."""
    import pwd  # noqa: PLC0415 - reads the C library's name service; seldom needed

    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return b"%d" % uid
