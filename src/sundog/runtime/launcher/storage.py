"""The storage directory of ``ch-run``, and whether ``ch-run`` may run an image in it.

The usual path is in a directory where every user of the machine can make files.  So the storage
directory at that path must belong to the user.  A symbolic link there may also belong to root.  The
user may name a storage directory of another user, if only its owner could have written to it:

* No other user can write to the directory, to the directories that every storage has, or to the
  files that describe the image.  The check does not read the trees of layers, because all users may
  be able to write to the root directory of an image.
* The image has no program that gives other users the rights of the owner: a program that is
  set-user-ID or set-group-ID, and that others can execute.  If the file system is mounted nosuid,
  ``ch-run`` does not search for such programs.  They do no harm in the container itself: it has
  no_new_privs, and its user namespace has no other user.

``ch-run`` makes the same checks in the user's own storage directory if others can enter it.

``ch-run`` reads the owners before it enters the namespaces, because all other users look alike in a
user namespace.  It opens the directory again after that, and compares device and inode.  The kernel
can't have reused the inode number, because the first descriptor is still open.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.modes import S_IFDIR, S_IFMT, S_IFREG
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_NO_SYMLINKS, openat2
from sundog.base.record.layer_path import LAYER_LINKS, LAYER_OWNERS, LAYER_TREE
from sundog.base.record.location import account_name, is_others_link
from sundog.base.record.stack import read_stack
from sundog.base.record.stored_path import stored_place
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY

_WRITABLE_TO_OTHERS = 0o022
OPEN_TO_OTHERS = 0o077
_SET_ID = 0o6000
_EXECUTABLE_FOR_OTHERS = 0o011

# Files that every storage has, and from which containers are mounted.  Of the skeleton only /etc
# and /mnt stay visible in a container.
_FIXED_ENTRIES = (
    *(b".", b"images", b"layers", b"trees", b"skeleton", b"skeleton/etc", b"skeleton/mnt"),
    *[b"skeleton/mnt/%d" % number for number in range(10)],
    *(b"skeleton/etc/passwd", b"skeleton/etc/group"),
    *(b"skeleton/etc/hosts", b"skeleton/etc/resolv.conf"),
)

_OWN_HINT = "name your own storage: --storage or $CH_IMAGE_STORAGE; run a directory as ./DIR"


class Storage:
    """A storage directory.

    ``directory`` is its descriptor, or -1 if it does not exist or ``ch-run`` must not use it.
    ``is_private`` says that it belongs to this user, and that no other user can enter it.
    ``has_link`` says that ``path`` is not its only path: a symbolic link is on the way.
    """

    __slots__ = ("directory", "has_link", "is_private", "path")

    def __init__(
        self,
        path: bytes,
        directory: int = -1,
        *,
        has_link: bool = False,
        is_private: bool = False,
    ) -> None:
        self.path = path
        self.directory = directory
        self.has_link = has_link
        self.is_private = is_private

    def at(self, name: bytes) -> bytes:
        """Return a path to something in the open directory."""
        return b"/proc/self/fd/%d/%s" % (self.directory, name)

    def reopen(self) -> None:
        """Open the directory again in this mount namespace, so that it can be mounted.

        Raises SundogError if the path now leads to another directory.
        """
        if self.directory < 0:
            return
        try:
            directory = os.open(self.path, OPEN_DIRECTORY)
        except OSError as error:
            raise kernel_error("open", self.path, error.errno or 0) from None
        if identity(directory) != identity(self.directory):
            raise SundogError(
                f"storage directory {printable(self.path)} was replaced by another at this moment",
                "start again; check which users may write to the directories above it",
            )
        os.close(self.directory)
        self.directory = directory


def find_storage(path: bytes, name: str | None, *, is_usual: bool, arch: bytes = b"") -> Storage:
    """Return the storage directory ``path`` (absolute) from which to run the image ``name``.

    ``arch`` is as in ``stored_place``.  ``name`` is None if the user gave no image name: then the
    function opens only a private directory.  ``is_usual`` says that ``path`` is the path that
    applies by default.  Raises SundogError if ``ch-run`` must not run the image.
    """
    if name is None:
        return private_storage(path)
    try:
        if is_usual and is_others_link(path):
            raise _not_own(path, os.lstat(path).st_uid, "symbolic link ")
        directory, has_link = _open_storage(path)
    except (FileNotFoundError, NotADirectoryError):
        return Storage(path)
    except PermissionError:
        raise closed_storage(path) from None
    storage = Storage(path, directory, has_link=has_link)
    status = os.fstat(directory)
    if status.st_uid != os.geteuid():
        if is_usual:
            raise _not_own(path, status.st_uid)
    elif not status.st_mode & OPEN_TO_OTHERS:
        return Storage(path, directory, has_link=has_link, is_private=True)
    try:
        place = stored_place(storage.at(b"."), name, arch)
        _check_entries(storage, b"images/" + place.rpartition(b"/")[2], status.st_uid)
    except PermissionError:
        raise closed_storage(path) from None
    return storage


def private_storage(path: bytes) -> Storage:
    """Return the storage directory ``path``; open it only if it is private to this user."""
    try:
        if is_others_link(path):
            return Storage(path)
        directory, has_link = _open_storage(path)
    except OSError:
        return Storage(path)
    status = os.fstat(directory)
    if status.st_uid == os.geteuid() and not status.st_mode & OPEN_TO_OTHERS:
        return Storage(path, directory, has_link=has_link, is_private=True)
    os.close(directory)
    return Storage(path)


def _open_storage(path: bytes) -> tuple[int, bool]:
    """Open a directory; also tell whether a symbolic link is on the way.  Raises OSError."""
    try:
        return openat2(AT_FDCWD, path, OPEN_DIRECTORY, RESOLVE_NO_SYMLINKS), False
    except KernelError as error:
        if error.errno != errno.ELOOP:
            raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    return os.open(path, OPEN_DIRECTORY), True


def _check_entries(storage: Storage, image: bytes, owner: int) -> None:
    """Raise SundogError if a user besides ``owner``, root and this user can change ``image``.

    Raises PermissionError if this user cannot look into a directory.
    """
    try:
        directory = os.open(storage.at(image), OPEN_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return  # no such image; the name may be that of a directory
    stack = read_stack(directory)
    os.close(directory)
    layers = [b"layers/" + layer for layer in stack.layers]
    entries = [*_FIXED_ENTRIES, image, image + b"/stack", image + b"/root/ch", *layers]
    entries += [layer + name for layer in layers for name in (LAYER_OWNERS, LAYER_LINKS)]
    owners = (owner, os.geteuid(), 0)
    for entry in entries:
        _check_entry(storage, entry, owners)
    if not os.fstatvfs(storage.directory).f_flag & os.ST_NOSUID:
        trees = [b"trees/" + stack.tree] if stack.tree else [layer + LAYER_TREE for layer in layers]
        for tree in (image + b"/root", *trees):
            _check_programs(storage, tree)


def _check_entry(storage: Storage, entry: bytes, owners: tuple[int, ...]) -> None:
    """Raise SundogError if a user who is not in ``owners`` can change a directory or file."""
    try:
        status = os.lstat(storage.at(entry))
    except FileNotFoundError:
        return
    if status.st_mode & S_IFMT not in (S_IFDIR, S_IFREG):
        raise _unsafe(storage, entry, "is neither a directory nor a file")
    if status.st_uid not in owners:
        raise _unsafe(storage, entry, f"belongs to {printable(account_name(status.st_uid))}")
    if status.st_mode & _WRITABLE_TO_OTHERS:
        mode = f"{status.st_mode & 0o7777:04o}"
        raise _unsafe(
            storage, entry, f"is writable to others than its owner (mode {mode})", "chmod go-w"
        )


def _check_programs(storage: Storage, tree: bytes) -> None:
    """Raise SundogError if a program in ``tree`` gives other users the rights of its owner.

    Raises it also for a directory that this user can enter but not list: such a program may be
    there.
    """
    left = [tree]
    while left:
        directory = left.pop()
        try:
            entries = os.scandir(storage.at(directory))
        except FileNotFoundError:
            continue
        except PermissionError:
            if os.access(storage.at(directory), os.X_OK, effective_ids=True):
                reason = "can be entered but not listed: there may be set-user-ID programs in it"
                raise _unsafe(storage, directory, reason, "chmod go-x") from None
            continue
        for found in entries:
            path = directory + b"/" + found.name
            if found.is_dir(follow_symlinks=False):
                left.append(path)
            elif not found.is_symlink():
                mode = found.stat(follow_symlinks=False).st_mode
                if mode & _SET_ID and mode & _EXECUTABLE_FOR_OTHERS:
                    reason = "runs as its owner, or its group, for everyone who starts it"
                    raise _unsafe(storage, path, reason, "chmod ug-s")


def identity(fd: int) -> tuple[int, int]:
    """Return the device and the inode of an open file."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _not_own(path: bytes, uid: int, kind: str = "") -> SundogError:
    """Return the error for a usual storage directory that belongs to another user."""
    owner = printable(account_name(uid))
    return SundogError(
        f"{kind or 'storage directory '}{printable(path)} belongs to {owner}: each user has their"
        " own",
        _OWN_HINT,
    )


def _unsafe(storage: Storage, entry: bytes, reason: str, cure: str = "") -> SundogError:
    """Return the error for ``entry``, which a user besides the owner may have changed."""
    path = printable(storage.path if entry == b"." else storage.path + b"/" + entry)
    hint = f"the owner of the storage can run: {cure} {path}; or {_OWN_HINT}" if cure else _OWN_HINT
    return SundogError(f"can't trust the storage directory: {path} {reason}", hint)


def closed_storage(path: bytes) -> SundogError:
    """Return the error for a storage directory into which this user cannot look."""
    return SundogError(
        f"can't look into the storage directory {printable(path)}: Permission denied",
        "it belongs to another user; name your own storage: --storage or $CH_IMAGE_STORAGE",
    )
