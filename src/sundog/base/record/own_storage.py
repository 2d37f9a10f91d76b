"""The storage directory as a directory of this user: recognised, refused, claimed.

    version         ``sundog 2``; a directory that has files but not this one is not Sundog's

In a directory of format 2, every command notes the users of layers; Sundog 1.0 refuses to write
there.  A directory of format 1 stays one, and both versions may use it side by side.

Commands that store nothing but their run-time state need no more of it: see
``sundog.runtime.state``.  ``store/directory`` makes the rest.
"""

from __future__ import annotations

import os
import stat

from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.libc import printable
from sundog.base.record.location import (
    OTHER_STORAGE_HINT,
    STORAGE_VERSION,
    account_name,
    is_others_link,
)
from sundog.errors import StoreError, UnfitStorage

FORMAT = b"sundog 2\n"
OLDER_FORMAT = b"sundog 1\n"
_FORMAT_FAMILY = b"sundog "
# A random number follows, since several processes may make the file at once.  What a killed
# process leaves does no harm.
_VERSION_IN_MAKING = b".sundog-version."

_LINKS_LIMIT = 40  # the kernel follows as many: path_resolution(7)


def claim_storage(path: bytes) -> None:
    """Make sure that ``path`` is a storage directory of this user; make it if it is not there.

    An empty directory becomes one, unless another user's symbolic link leads there.  Raises
    StoreError for a directory that is not Sundog's, that belongs to another user or group, or
    that others may enter; such a directory is left untouched.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        _make(path)
    except OSError:
        pass  # check_owner says why
    check_owner(path)
    version = read_version(path)
    if version is None:
        _claim(path)
        version = read_version(path) or b""
    _check_format(path, version)
    # Look again: a process that has claimed the directory meanwhile has made it private.
    _check_privacy(path, os.stat(path))


def check_owner(path: bytes) -> None:
    """Raise UnfitStorage if ``path`` is not a directory of this user.

    A symbolic link of another user, except root, is refused too: others must not decide in which of
    the user's own directories Sundog works.
    """
    try:
        if is_others_link(path):
            owner = printable(account_name(os.lstat(path).st_uid))
            raise UnfitStorage(
                f"storage directory {printable(path)} is a symbolic link that belongs to {owner}",
                OTHER_STORAGE_HINT,
            )
        status = os.stat(path)
    except PermissionError as error:
        raise UnfitStorage(
            f"can't reach storage directory {printable(path)}: {error.strerror}", OTHER_STORAGE_HINT
        ) from error
    except FileNotFoundError as error:
        raise UnfitStorage(
            f"storage directory {printable(path)} is a symlink to nowhere", OTHER_STORAGE_HINT
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise UnfitStorage(
            f"storage directory {printable(path)} is not a directory", OTHER_STORAGE_HINT
        )
    if status.st_uid != os.geteuid():
        owner = printable(account_name(status.st_uid))
        raise UnfitStorage(
            f"storage directory {printable(path)} belongs to {owner}: each user has their own",
            OTHER_STORAGE_HINT,
        )


def check_directory(path: bytes) -> None:
    """Raise StoreError if ``path``, which exists, can't be a storage directory."""
    check_owner(path)
    version = read_version(path)
    if version is None and _is_unclaimed(path):
        return
    _check_format(path, read_version(path) or b"")
    _check_privacy(path, os.stat(path))


def _is_unclaimed(path: bytes) -> bool:
    """Tell whether a directory is empty; raise UnfitStorage if it has the files of others."""
    if all(name.startswith(_VERSION_IN_MAKING) for name in os.listdir(path)):
        return True
    if read_version(path) is not None:
        return False
    raise UnfitStorage(
        f"not a Sundog storage directory, and not empty: {printable(path)}", OTHER_STORAGE_HINT
    )


def _check_format(path: bytes, version: bytes) -> None:
    if version not in (FORMAT, OLDER_FORMAT):
        raise UnfitStorage(
            f"storage directory {printable(path)} has format {printable(version.strip())!r}, this "
            f"version of Sundog knows {printable(FORMAT.strip())!r}",
            "ch-image reset deletes all of its contents and starts anew; or " + OTHER_STORAGE_HINT,
        )


def read_version(path: bytes) -> bytes | None:
    """Return the contents of the version file of ``path``, None if ``path`` is not Sundog's."""
    try:
        with open(os.path.join(path, STORAGE_VERSION), "rb") as file:
            version = file.read(64)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return version if version.startswith(_FORMAT_FAMILY) else None


def _make(path: bytes) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # another process was faster; check_owner tells whether it is this user's
    except OSError as error:
        raise UnfitStorage(
            f"can't make storage directory {printable(path)}: {error.strerror}", OTHER_STORAGE_HINT
        ) from error


def _claim(path: bytes) -> None:
    """Make an empty directory a storage directory."""
    if not _is_unclaimed(path):
        return  # another process has just claimed it
    _check_way(path)
    # Below a directory with the set-group-ID bit, the group is the parent's.
    try:
        os.chown(path, -1, os.getegid())
        os.chmod(path, 0o700)
    except OSError as error:
        raise UnfitStorage(
            f"can't make storage directory {printable(path)} private: {error.strerror}",
            OTHER_STORAGE_HINT,
        ) from error
    _check_privacy(path, os.stat(path))
    draft = os.path.join(path, _VERSION_IN_MAKING + os.urandom(8).hex().encode())
    replace_file(os.path.join(path, STORAGE_VERSION), FORMAT, mode=0o644, draft=draft)


def _check_way(path: bytes) -> None:
    """Raise StoreError if a symbolic link of another user, but root, is on the way to ``path``.

    Such a link could lead to any empty directory of this user.
    """
    left = path.split(b"/")[::-1]
    way, links = b"/", 0
    while left:
        name = left.pop()
        if name == b"..":
            way = os.path.dirname(way)
            continue
        step = os.path.join(way, name)
        if name in (b"", b".") or not os.path.islink(step):
            way = step if name not in (b"", b".") else way
            continue
        links += 1
        if is_others_link(step) or links > _LINKS_LIMIT:
            raise StoreError(
                f"won't make {printable(path)} a storage directory: on the way there is "
                f"{printable(step)}, a symbolic link that belongs to another user",
                f"give its real path: --storage {printable(os.path.realpath(path))}",
            )
        target = os.readlink(step)
        way = b"/" if target.startswith(b"/") else way
        left += target.split(b"/")[::-1]


def _check_privacy(path: bytes, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        raise StoreError(
            f"storage directory {printable(path)} is open to others (mode "
            f"{stat.S_IMODE(status.st_mode):04o})",
            f"chmod 700 {printable(path)}",
        )
    if status.st_gid != os.getegid():
        raise StoreError(
            f"storage directory {printable(path)} has group {_group_name(status.st_gid)}, but you "
            f"work as group {_group_name(os.getegid())}, and only one group can be mapped",
            f"newgrp {_group_name(status.st_gid)}; or {OTHER_STORAGE_HINT}",
        )
    if status.st_mode & stat.S_ISGID:
        raise StoreError(
            f"storage directory {printable(path)} has the set-group-ID bit",
            f"chmod g-s {printable(path)}",
        )


def _group_name(gid: int) -> str:
    import grp  # noqa: PLC0415 - for an error message only

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
