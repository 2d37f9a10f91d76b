"""The default path of the storage directory.

``$CH_IMAGE_STORAGE``, else ``/var/tmp/$USER.sundog``.  If ``$USER`` is unset, as in many containers
and cron jobs, or not the user's, as after ``su -m``, the account name of the effective uid takes
its place.  If there is no such account, it is $USER, or else that uid.
"""

from __future__ import annotations

import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFLNK, S_IFMT
from sundog.errors import SundogError

STORAGE_VARIABLE = b"CH_IMAGE_STORAGE"
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


def default_storage(environment: Variables) -> bytes:
    """Return the path of the storage directory that ``environment`` implies.

    Raises SundogError if the variable is relative: commands start in many directories.
    """
    named = environment.get(STORAGE_VARIABLE)
    if named:
        if not named.startswith(b"/"):
            raise SundogError(
                f"$CH_IMAGE_STORAGE: not absolute path: {printable(named)}",
                "--storage takes a relative one",
            )
        return named
    return usual_storage(environment)


def usual_storage(environment: Variables) -> bytes:
    """Return the path of the storage directory if ``environment`` names none.

    A directory of this user at $USER's place, to which a link of root's may lead, or a line of
    /etc/passwd, needs no look at the accounts, which may be slow.
    """
    user = environment.get(b"USER") or b""
    if user and b"/" not in user:
        path = STORAGE_PARENT + user + STORAGE_SUFFIX
        if _is_own_or_linked(path) or _is_local_name(user):
            return path
    else:
        user = b""
    name = account_name(os.geteuid())
    return STORAGE_PARENT + (user if user and name.isdigit() else name) + STORAGE_SUFFIX


def own_places(storage: bytes, environment: Variables) -> list[bytes]:
    """Return the paths of directories of Sundog's own.

    They are the ``storage`` directory in use, others that the user has, and those in which there
    may be run-time state (``state.place``).
    """
    # The file that is in each such directory: see ``own_storage``.
    named = environment.get(STORAGE_VARIABLE) or b""
    marks = dict.fromkeys((storage, named, usual_storage(environment)), STORAGE_VERSION)
    for runtime in (environment.get(RUNTIME_VARIABLE) or b"", b"/run/user/%d" % os.geteuid()):
        marks[runtime and runtime + b"/" + RUNTIME_NAME] = b"."
    return [
        path for path in marks if path.startswith(b"/") and _is_there(path + b"/" + marks[path])
    ]


def _is_there(path: bytes) -> bool:
    """Tell whether a file is there, and reached by this user."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _is_own_or_linked(path: bytes) -> bool:
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
