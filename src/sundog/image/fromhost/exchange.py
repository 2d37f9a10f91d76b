"""Put many files into the directory of an image, all at one moment.

rename(2) is atomic for one file.  So one symlink decides about all files.  In ``/ch/fromhost`` of
the image there are these trees, with the same paths as in the image:

    new, redo    the files as they are to be
    old, undo    the files of these paths that the image has now: hard links

    1. stage     make the trees, and the symlink ``current`` to ``old``
    2. place     put a symlink to ``/ch/fromhost/current/PATH`` at each PATH, so far the old file
    3. flip      rename(2) a symlink to ``new`` over ``current``: now all files are new
    4. settle    rename(2) each file of ``redo`` to its PATH, over the symlink

So a program in the image sees all old files until step 3, and all new files from then on.  (A path
that is new leads nowhere between 2 and 3.)  Each step is on the device before the next begins.

Whatever ends this process, ``recover`` finishes the work after step 3, and undoes it before: it
renames the files of ``undo`` to their paths.

``new`` and ``old`` are what the symlinks lead to.  A relative symlink would lead elsewhere from
there, so these two have absolute ones.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress

from sundog.base.kernel.files import Closing, symlink, syncfs
from sundog.base.kernel.libc import descriptor_path, printable
from sundog.base.kernel.locks import open_locked
from sundog.errors import KernelError, SundogError
from sundog.image.fromhost.tree import Tree
from sundog.image.layer.copying import Copier
from sundog.image.layer.remove import remove_tree

PLACE = b"ch/fromhost"
_CURRENT, _NEXT, _LINK, _LOCK = b"current", b"next", b"link", b"lock"
_NEW, _OLD, _REDO, _UNDO = b"new", b"old", b"redo", b"undo"
_TREES = (_NEW, _OLD, _REDO, _UNDO)
_MODE_MASK = 0o777
_NO_LINK = (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS, errno.EACCES)


class Exchange:
    """New files for the image ``tree``; as a context, it holds the image's lock.

    The context recovers from an earlier process, and removes at its end what it has not committed.
    Raises OSError, KernelError and SundogError.
    """

    def __init__(self, tree: Tree) -> None:
        self._image = tree
        self._place = Tree(-1)
        self._lock = -1
        self._copier = Copier()

    def __enter__(self) -> Exchange:
        while self._lock < 0:
            with suppress(FileNotFoundError):  # another process has just removed the directory
                self._open()
        self._recover()
        for name in _TREES:
            os.mkdir(name, 0o755, dir_fd=self._place.fd)
        return self

    def __exit__(self, *_: object) -> None:
        self._recover()
        parent, name = os.path.split(PLACE)
        with suppress(FileNotFoundError):
            os.unlink(_LOCK, dir_fd=self._place.fd)
        os.close(self._lock)
        os.close(self._place.fd)
        with suppress(OSError):  # another process waits for the lock, or it is not empty
            with Closing(self._image.open(parent)) as fd:
                os.rmdir(name, dir_fd=fd)
            os.rmdir(parent, dir_fd=self._image.fd)

    def add_file(self, path: bytes, source: bytes) -> None:
        """Stage a copy of the file ``source`` for ``path``: data, permissions, times, attributes.

        ``source`` may be a symlink to the file.  Set-id bits are not copied: the program would run
        as another user than on the host.
        """
        real = os.path.realpath(source)
        parent, name = self._prepare(path)
        with (
            Closing(os.open(os.path.dirname(real), os.O_RDONLY | os.O_DIRECTORY)) as directory,
            Closing(self._place.open(os.path.join(_NEW, parent))) as target,
            Closing(self._place.open(os.path.join(_REDO, parent))) as redo,
        ):
            original = os.path.basename(real)
            status = os.stat(original, dir_fd=directory)
            with suppress(FileNotFoundError):  # given twice: the last one counts
                os.unlink(name, dir_fd=target)
                os.unlink(name, dir_fd=redo)
            self._copier.copy(directory, original, status, target, name)
            with Closing(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=target)) as fd:
                os.fchmod(fd, status.st_mode & _MODE_MASK | stat.S_IRUSR)
            self._link(target, name, redo)

    def add_symlink(self, path: bytes, target: bytes) -> None:
        """Stage a symlink for ``path``."""
        parent, name = self._prepare(path)
        for tree, text in ((_NEW, _absolute(path, target)), (_REDO, target)):
            with Closing(self._place.open(os.path.join(tree, parent))) as fd:
                symlink(text, name, dir_fd=fd)

    def add_text(self, path: bytes, text: bytes) -> None:
        """Stage a file with ``text`` for ``path``."""
        parent, name = self._prepare(path)
        with (
            Closing(self._place.open(os.path.join(_NEW, parent))) as target,
            Closing(self._place.open(os.path.join(_REDO, parent))) as redo,
        ):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(name, flags, 0o644, dir_fd=target), "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(text)
            self._link(target, name, redo)

    def commit(self) -> None:
        """Put all staged files into the image.  Atomic; see the module's docstring."""
        new = self._new()
        entries = list(new.walk())
        self._keep_old(entries)
        symlink(_OLD, _CURRENT, dir_fd=self._place.fd)
        self._sync()
        for path, status in entries:
            if stat.S_ISDIR(status.st_mode):
                self._image.make_directories(path)
            else:
                self._place_link(path)
        os.close(new.fd)
        self._sync()
        symlink(_NEW, _NEXT, dir_fd=self._place.fd)
        os.rename(_NEXT, _CURRENT, src_dir_fd=self._place.fd, dst_dir_fd=self._place.fd)
        self._sync()

    def _open(self) -> None:
        """Open the directory and take its lock.  Raises FileNotFoundError if it goes meanwhile."""
        try:
            self._image.make_directories(PLACE)
            place = self._image.open(PLACE)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise FileNotFoundError from None
            raise SundogError(
                f"cannot inject: /{printable(PLACE)} is not a directory of the image",
                "its /ch is a symlink, or another file system",
            ) from error
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise SundogError(
                f"cannot inject: no directory in {printable(descriptor_path(self._image.fd))}: "
                f"{error.strerror}",
                "the image must belong to you, and its /ch must be a directory",
            ) from error
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        try:
            self._lock = open_locked(_LOCK, flags, fcntl.LOCK_EX, dir_fd=place)
        except BaseException:
            os.close(place)
            raise
        self._place = Tree(place)

    def _prepare(self, path: bytes) -> tuple[bytes, bytes]:
        """Make the directories for ``path`` in the trees; return its directory and its name."""
        parent, name = os.path.split(path)
        for tree in (_NEW, _REDO):
            self._place.make_directories(os.path.join(tree, parent))
        return parent, name

    def _keep_old(self, entries: list[tuple[bytes, os.stat_result]]) -> None:
        """Make the trees of what the image has now.  Raises SundogError for a directory."""
        for path, status in entries:
            now = self._image.status(path)
            if now is None:
                continue
            if stat.S_ISDIR(status.st_mode) != stat.S_ISDIR(now.st_mode):
                kind = "a directory" if stat.S_ISDIR(now.st_mode) else "not a directory"
                raise SundogError(f"cannot inject: /{printable(path)} is {kind} in the image")
            parent, name = os.path.split(path)
            for tree in (_OLD, _UNDO):
                place = os.path.join(tree, path if stat.S_ISDIR(now.st_mode) else parent)
                self._place.make_directories(place)
            if stat.S_ISDIR(now.st_mode):
                continue
            with (
                Closing(self._image.open(parent)) as image,
                Closing(self._place.open(os.path.join(_OLD, parent))) as old,
                Closing(self._place.open(os.path.join(_UNDO, parent))) as undo,
            ):
                self._link(image, name, undo)
                if stat.S_ISLNK(now.st_mode):
                    symlink(_absolute(path, os.readlink(name, dir_fd=image)), name, dir_fd=old)
                else:
                    self._link(image, name, old)

    def _link(self, source: int, name: bytes, target: int) -> None:
        """Make a hard link ``name`` in ``target``; a copy on file systems that have none."""
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._copier.copy(source, name, os.lstat(name, dir_fd=source), target, name)

    def _place_link(self, path: bytes) -> None:
        """Put the symlink to what ``current`` has at ``path``."""
        parent, name = os.path.split(path)
        with Closing(self._image.open(parent)) as fd:
            symlink(_way(path), _LINK, dir_fd=self._place.fd)
            try:
                os.rename(_LINK, name, src_dir_fd=self._place.fd, dst_dir_fd=fd)
            except OSError as error:
                raise SundogError(
                    f"cannot inject: /{printable(path)}: {error.strerror}",
                    "all of the image must be on one file system, with nothing mounted in it",
                ) from error

    def _recover(self) -> None:
        """Finish what has been committed, undo what has not; leave nothing but the lock."""
        place = self._place.fd
        try:
            state = os.readlink(_CURRENT, dir_fd=place)
        except OSError:
            state = b""
        if state in (_NEW, _OLD):
            self._settle(_REDO if state == _NEW else _UNDO)
            self._sync()
        for name in map(os.fsencode, os.listdir(place)):
            if name not in (_CURRENT, _LOCK):
                remove_tree(name, dir_fd=place)
        remove_tree(_CURRENT, dir_fd=place)  # the last, because it says what the rest is

    def _settle(self, wanted: bytes) -> None:
        """Put the files of the tree ``wanted`` in place of the symlinks."""
        if self._place.status(_NEW) is None:  # an earlier process has removed it
            return
        new = self._new()
        entries = list(new.walk())
        os.close(new.fd)
        for path, status in entries:
            if not stat.S_ISDIR(status.st_mode):
                self._settle_one(path, wanted)
        for path, status in reversed(entries) if wanted == _UNDO else ():
            if stat.S_ISDIR(status.st_mode):
                self._remove_new_directory(path)

    def _settle_one(self, path: bytes, wanted: bytes) -> None:
        """Put the file of the tree ``wanted`` in place of the symlink at ``path``, if it is there.

        Without such a file, the path is new and is removed.
        """
        now = self._image.status(path)
        if now is None or not stat.S_ISLNK(now.st_mode):
            return  # not placed yet, or settled
        parent, name = os.path.split(path)
        with Closing(self._image.open(parent)) as fd:
            if os.readlink(name, dir_fd=fd) != _way(path):
                return
            if self._place.status(os.path.join(wanted, path)) is None:
                os.unlink(name, dir_fd=fd)
                return
            with Closing(self._place.open(os.path.join(wanted, parent))) as source:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=fd)

    def _remove_new_directory(self, path: bytes) -> None:
        """Remove a directory that this exchange made in the image, if it is empty."""
        if self._place.status(os.path.join(_OLD, path)) is None:
            parent, name = os.path.split(path)
            with suppress(OSError, KernelError), Closing(self._image.open(parent)) as fd:
                os.rmdir(name, dir_fd=fd)

    def _new(self) -> Tree:
        """Open the tree of new files; the caller closes it."""
        return Tree(self._place.open(_NEW))

    def _sync(self) -> None:
        syncfs(self._place.fd)


def _way(path: bytes) -> bytes:
    """Return the symlink that leads from ``path`` to what ``current`` has there."""
    return b"/".join((b"", PLACE, _CURRENT, path))


def _absolute(path: bytes, target: bytes) -> bytes:
    """Return an absolute symlink that leads where ``target`` leads from ``path``."""
    return os.path.join(b"/", os.path.dirname(path), target)
