"""Put files into an image: the destination side of COPY, and the directories of WORKDIR.

Specification: the Dockerfile reference, COPY, and BuildKit where it leaves room.  The contents of a
source that is a directory are copied; existing directories get the modes of the copied ones below
the destination itself; files replace what is not a directory.  Symlinks of the image are followed
within its root, wherever they point to, also by a directory that is copied onto one (BuildKit
refuses that).  All that is made belongs to the process; who owns it in the image is not this
module's business.  Runs as root over the tree; the umask is of no account.
"""

from __future__ import annotations

import errno
import os
import stat

from sundog.build.sources import SourceTree, copied_attributes, unknown_type
from sundog.errors import BuildError, KernelError
from sundog.kernel.libc import printable
from sundog.kernel.mounts import RESOLVE_IN_ROOT, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.build.sources import Source

_SYMLINK_LIMIT = 40  # as the kernel's: path_resolution(7)
_DIRECTORY_MODE = 0o755
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


def make_directories(root: int, path: bytes, *, links: int = _SYMLINK_LIMIT) -> int:
    """Make the directory ``path`` below ``root`` and its parents; return it open for reading.

    What is there already stays as it is; a symlink to nowhere gets its target made.  Raises
    BuildError where something else is in the way.
    """
    try:
        return openat2(root, path or b".", _OPEN_DIRECTORY, RESOLVE_IN_ROOT)
    except KernelError as error:
        if error.errno == errno.ENOTDIR:
            raise _not_a_directory(path) from error
        if error.errno != errno.ENOENT:
            raise
    parent_path, name = os.path.split(path)
    parent = make_directories(root, parent_path, links=links)
    try:
        if name not in (b"", b".", b".."):
            target = _link_target(parent, name)
            if target is not None:
                return make_directories(
                    root, os.path.join(parent_path, target), links=_one_less(links, path)
                )
            return _new_directory(parent, name)
        return os.open(name or b".", _OPEN_DIRECTORY, dir_fd=parent)
    finally:
        os.close(parent)


def _new_directory(parent: int, name: bytes) -> int:
    os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    os.fchmod(fd, _DIRECTORY_MODE)
    return fd


def copy_into(
    tree: SourceTree, sources: Sequence[Source], root: int, destination: bytes, *, directory: bool
) -> None:
    """Copy ``sources`` to ``destination``, absolute and without ``..``, below ``root``.

    ``directory`` says that the destination is one, made if need be; without it there is one source,
    and the destination is what the source is.  Raises BuildError where that does not fit together.
    """
    copier = _Copier(root)
    for source in sources:
        fd = tree.open(source.path)
        try:
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            if not directory and not is_directory:
                copier.file_to_path(fd, source.name, destination)
                continue
            target = make_directories(root, destination)
            try:
                if is_directory:
                    copier.directory(fd, target, destination)
                else:
                    copier.file(fd, target, source.name, destination)
            finally:
                os.close(target)
        finally:
            os.close(fd)


class _Copier:
    """One COPY: remembers hard links among all that it copies."""

    def __init__(self, root: int) -> None:
        self._root = root
        # Device and inode of a source → directory and name of its copy.
        self._links: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def file_to_path(self, fd: int, source_name: bytes, path: bytes) -> None:
        """Copy a file to ``path``, or into it if a directory is there."""
        for _ in range(_SYMLINK_LIMIT):
            directory, name = os.path.split(path)
            try:
                target = openat2(self._root, path, _OPEN_DIRECTORY, RESOLVE_IN_ROOT)
                directory, name = path, source_name
                link = None
            except KernelError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    raise
                target = make_directories(self._root, directory)
                link = _link_target(target, name)
            try:
                if link is None:
                    self.file(fd, target, name, directory)
                    return
            finally:
                os.close(target)
            path = os.path.join(directory, link)
        raise _too_many_links(path)

    def directory(self, source: int, target: int, path: bytes) -> None:
        """Copy what is in the directory ``source`` to ``target``, in the image at ``path``."""
        for name in sorted(map(os.fsencode, os.listdir(source))):
            info = os.lstat(name, dir_fd=source)
            match stat.S_IFMT(info.st_mode):
                case stat.S_IFDIR:
                    self._subdirectory(source, name, os.path.join(path, name))
                case stat.S_IFREG:
                    fd = os.open(name, _READ_FLAGS, dir_fd=source)
                    try:
                        self.file(fd, target, name, path)
                    finally:
                        os.close(fd)
                case stat.S_IFLNK:
                    _remove_file(target, name, path)
                    os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
                    _set_times(name, info, target)
                case stat.S_IFIFO:
                    _remove_file(target, name, path)
                    os.mkfifo(name, dir_fd=target)
                    os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)
                    _set_times(name, info, target)
                case stat.S_IFSOCK:
                    pass  # means nothing without the process behind it
                case _:
                    raise unknown_type(os.path.join(path, name))

    def _subdirectory(self, source: int, name: bytes, path: bytes) -> None:
        inner = os.open(name, _READ_FLAGS | os.O_DIRECTORY, dir_fd=source)
        try:
            target = make_directories(self._root, path)
            try:
                self.directory(inner, target, path)
                _copy_metadata(inner, target)
            finally:
                os.close(target)
        finally:
            os.close(inner)

    def file(self, source: int, target: int, name: bytes, path: bytes) -> None:
        """Copy the file ``source`` to ``name`` in ``target``, in the image at ``path``."""
        info = os.fstat(source)
        if not stat.S_ISREG(info.st_mode):
            raise unknown_type(name)
        _remove_file(target, name, path)
        if info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), (path, name))
            if first != (path, name):
                self._link(first, target, name)
                return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        copy = os.open(name, flags, 0o600, dir_fd=target)
        try:
            _copy_contents(source, copy)
            _copy_metadata(source, copy)
        finally:
            os.close(copy)

    def _link(self, first: tuple[bytes, bytes], target: int, name: bytes) -> None:
        directory, first_name = first
        fd = openat2(self._root, directory, _OPEN_DIRECTORY, RESOLVE_IN_ROOT)
        try:
            os.link(first_name, name, src_dir_fd=fd, dst_dir_fd=target)
        finally:
            os.close(fd)


def _copy_contents(source: int, target: int) -> None:
    offset = 0
    while sent := os.sendfile(target, source, offset, 1 << 30):
        offset += sent


def _copy_metadata(source: int, target: int) -> None:
    """Copy mode, extended attributes and times; the mode before capabilities, which it clears."""
    info = os.fstat(source)
    os.chmod(target, stat.S_IMODE(info.st_mode))
    for attribute, value in copied_attributes(source):
        os.setxattr(target, attribute, value)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _set_times(name: bytes, info: os.stat_result, directory: int) -> None:
    times = (info.st_atime_ns, info.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _remove_file(directory: int, name: bytes, path: bytes) -> None:
    """Make room for a file."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError as error:
        raise BuildError(
            f"can't copy: a directory is in the way: {printable(os.path.join(path, name))}",
            "remove it in a RUN before",
        ) from error


def _link_target(directory: int, name: bytes) -> bytes | None:
    """Return where the symlink ``name`` leads, None if it is none."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise


def _one_less(links: int, path: bytes) -> int:
    if not links:
        raise _too_many_links(path)
    return links - 1


def _too_many_links(path: bytes) -> BuildError:
    return BuildError(f"too many symlinks in the image: {printable(path)}")


def _not_a_directory(path: bytes) -> BuildError:
    return BuildError(
        f"not a directory in the image: {printable(path)}", "choose another destination"
    )
