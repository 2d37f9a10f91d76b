"""The storage directory as ``ch-run`` finds it, and whether an image in it may be run.

The usual path is in a directory where every user of the machine can make files.  So what is there
must be the user's own; a symbolic link may also be root's.  A storage directory that the user names
may be another's, if nobody but its owner could have put something there:

* No other can write to it, to the directories that every storage has, and to what makes up the
  image.  Trees are left out: the root directory of an image may be writable to all.
* No program in the image makes another user the owner: it is set-user-ID or set-group-ID, and
  others can execute it.  A file system that is mounted nosuid needs no such look at all files.
  The container itself is safe from such programs: it has no_new_privs, and there is no other user
  in its user namespace.

The same holds for a storage of the user's own that others can enter.

Owners are looked at before the namespaces are entered: behind them all users but one look alike.
What is opened after that is the same directory if device and inode are, because the open descriptor
of the first look keeps the inode from being used again.

Floor 0.
"""

import os

from sundog.container.paths import OPEN_DIRECTORY
from sundog.errors import SundogError
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.modes import S_IFDIR, S_IFMT, S_IFREG
from sundog.record.location import account_name, is_others_link
from sundog.record.names import name_to_directory
from sundog.record.stack import read_stack

WRITABLE_TO_OTHERS = 0o022
OPEN_TO_OTHERS = 0o077
SET_ID = 0o6000
EXECUTABLE_FOR_OTHERS = 0o011

# What every storage has, as far as an image is mounted from it.  In the skeleton only /etc is not
# covered in every container.
FIXED_ENTRIES = (
    *(b".", b"images", b"layers", b"trees", b"skeleton", b"skeleton/etc"),
    *(b"skeleton/etc/passwd", b"skeleton/etc/group"),
    *(b"skeleton/etc/hosts", b"skeleton/etc/resolv.conf"),
)

OWN_HINT = "name one of your own: --storage or $CH_IMAGE_STORAGE; run a directory as ./DIR"


class Storage:
    """A storage directory; ``directory`` is open, or -1 where there is none, or none is wanted.

    ``is_private`` says that it is this user's, and that no other can enter it.
    """

    __slots__ = ("directory", "is_private", "path")

    def __init__(self, path: bytes, directory: int = -1, *, is_private: bool = False) -> None:
        self.path = path
        self.directory = directory
        self.is_private = is_private

    def at(self, name: bytes) -> bytes:
        """Return a path to something in the open directory."""
        return b"/proc/self/fd/%d/%s" % (self.directory, name)

    def reopen(self) -> None:
        """Open the directory in this mount namespace, from which it can be mounted.

        Raises SundogError if the path leads to another directory than before.
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
                "start again, and ask who may write to the directories above it",
            )
        os.close(self.directory)
        self.directory = directory


def find_storage(path: bytes, name: str | None, *, is_usual: bool) -> Storage:
    """Return the storage directory ``path`` (absolute) to run the image ``name`` from.

    None stands for what is no image name: then nobody opens a directory that is another user's, or
    that others can enter.  ``is_usual`` tells the path that applies where none is named.  Raises
    SundogError if the image must not be run.
    """
    if name is None:
        return private_storage(path)
    try:
        if is_usual and is_others_link(path):
            raise not_own(path, os.lstat(path).st_uid, "symbolic link ")
        directory = os.open(path, OPEN_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return Storage(path)
    except PermissionError:
        raise closed_storage(path) from None
    storage = Storage(path, directory)
    status = os.fstat(directory)
    if status.st_uid != os.geteuid():
        if is_usual:
            raise not_own(path, status.st_uid)
    elif not status.st_mode & OPEN_TO_OTHERS:
        return Storage(path, directory, is_private=True)
    try:
        check_entries(storage, b"images/" + name_to_directory(name).encode(), status.st_uid)
    except PermissionError:
        raise closed_storage(path) from None
    return storage


def private_storage(path: bytes) -> Storage:
    """Return the storage directory ``path``, open if it is this user's and private."""
    try:
        if is_others_link(path):
            return Storage(path)
        directory = os.open(path, OPEN_DIRECTORY)
    except OSError:
        return Storage(path)
    status = os.fstat(directory)
    if status.st_uid == os.geteuid() and not status.st_mode & OPEN_TO_OTHERS:
        return Storage(path, directory, is_private=True)
    os.close(directory)
    return Storage(path)


def check_entries(storage: Storage, image: bytes, owner: int) -> None:
    """Raise SundogError if another than ``owner`` or root can change what makes up ``image``.

    Raises PermissionError where this user cannot look.
    """
    try:
        directory = os.open(storage.at(image), OPEN_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return  # perhaps it is the name of a directory
    stack = read_stack(directory)
    os.close(directory)
    layers = [b"layers/" + layer for layer in stack.layers]
    entries = [*FIXED_ENTRIES, image, image + b"/stack", image + b"/root/ch", *layers]
    entries += [layer + b"/owners" for layer in layers]
    owners = (owner, os.geteuid(), 0)
    for entry in entries:
        check_entry(storage, entry, owners)
    if not os.fstatvfs(storage.directory).f_flag & os.ST_NOSUID:
        trees = [b"trees/" + stack.tree] if stack.tree else [layer + b"/tree" for layer in layers]
        for tree in (image + b"/root", *trees):
            check_programs(storage, tree)


def check_entry(storage: Storage, entry: bytes, owners: tuple[int, ...]) -> None:
    """Raise SundogError if others than ``owners`` can change a directory or file."""
    try:
        status = os.lstat(storage.at(entry))
    except FileNotFoundError:
        return
    if status.st_mode & S_IFMT not in (S_IFDIR, S_IFREG):
        raise unsafe(storage, entry, "is neither a directory nor a file")
    if status.st_uid not in owners:
        raise unsafe(storage, entry, f"belongs to {printable(account_name(status.st_uid))}")
    if status.st_mode & WRITABLE_TO_OTHERS:
        mode = f"{status.st_mode & 0o7777:04o}"
        raise unsafe(
            storage, entry, f"is writable to others than its owner (mode {mode})", "chmod go-w"
        )


def check_programs(storage: Storage, tree: bytes) -> None:
    """Raise SundogError if there is a program in ``tree`` that makes others its owner.

    A directory that others can enter but not list may hide one.
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
                raise unsafe(storage, directory, reason, "chmod go-x") from None
            continue
        for found in entries:
            path = directory + b"/" + found.name
            if found.is_dir(follow_symlinks=False):
                left.append(path)
            elif not found.is_symlink():
                mode = found.stat(follow_symlinks=False).st_mode
                if mode & SET_ID and mode & EXECUTABLE_FOR_OTHERS:
                    reason = "runs as its owner, or its group, for everyone who starts it"
                    raise unsafe(storage, path, reason, "chmod ug-s")


def identity(fd: int) -> tuple[int, int]:
    """Return what tells an open file from all others."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def not_own(path: bytes, uid: int, kind: str = "") -> SundogError:
    """Return the error that the usual storage directory is another user's."""
    owner = printable(account_name(uid))
    return SundogError(
        f"{kind or 'storage directory '}{printable(path)} belongs to {owner}: each user has their"
        " own",
        OWN_HINT,
    )


def unsafe(storage: Storage, entry: bytes, reason: str, cure: str = "") -> SundogError:
    """Return the error that another than the owner of the storage may have made what is in it."""
    path = printable(storage.path if entry == b"." else storage.path + b"/" + entry)
    hint = f"who owns the storage can say: {cure} {path}; or {OWN_HINT}" if cure else OWN_HINT
    return SundogError(f"can't trust the storage directory: {path} {reason}", hint)


def closed_storage(path: bytes) -> SundogError:
    """Return the error that this user cannot look into the storage directory ``path``."""
    return SundogError(
        f"can't look into the storage directory {printable(path)}: Permission denied",
        "it belongs to another user; name one of your own: --storage or $CH_IMAGE_STORAGE",
    )
