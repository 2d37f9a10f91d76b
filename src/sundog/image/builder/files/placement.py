"""Put files into an image: the destination side of COPY and ADD, and the directories of WORKDIR.

Specification: the Dockerfile reference, COPY; BuildKit where the reference leaves room.  For a
source that is a directory, COPY copies the contents.  Below the destination, an existing directory
gets the metadata of the copied one.  A file replaces anything but a directory.

COPY follows symlinks of the image to any place, but only within the image's root.  It also follows
a symlink when it copies a directory onto one (BuildKit refuses that).  All new files belong to the
process; records keep their owners in the image.  This code runs as root over the tree, and ignores
the umask.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from sundog.base.kernel.files import Closing, symlink
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.base.record.owners import OwnerRecord
from sundog.errors import BuildError, KernelError
from sundog.image.builder.files.content import (
    below,
    check_depth,
    copied_attributes,
    lstat_in,
    names_in,
    open_in,
    readlink_in,
    unknown_type,
)
from sundog.image.builder.files.directories import (
    OPEN_DIRECTORY,
    SYMLINK_LIMIT,
    link_target,
    make_directories,
    obstacle,
    too_many_links,
)
from sundog.image.layer.below import kind_of
from sundog.image.layer.holes import data_extents
from sundog.image.layer.known_records import KnownRecords
from sundog.image.layer.names import joined
from sundog.image.layer.remove import remove_tree
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.files.chmod import ModeChange
    from sundog.image.builder.files.content import Above, Listing, Source
    from sundog.image.builder.files.sources import SourceTree

_ROOT = (0, 0)
_SEND = 1 << 24  # bytes at a time


@dataclass(frozen=True, slots=True)
class Attributes:
    """The values of ``--chown`` and ``--chmod``; None keeps those of the source."""

    owner: tuple[int, int] | None = None
    mode: ModeChange | None = None


class Placer:
    """The files that one COPY or ADD puts into the image open as ``root``.

    ``records`` collects the owners of these files by canonical path, including root's files.  It
    keeps those of files that were replaced: what takes their place has a record, too.
    """

    def __init__(self, root: int, attributes: Attributes | None = None) -> None:
        self.records = KnownRecords()
        self._root = root
        self._prefix = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/")
        self._attributes = attributes or Attributes()

    def place(
        self,
        tree: SourceTree,
        sources: Sequence[Source],
        destination: bytes,
        *,
        directory: bool,
        replace: bool = False,
    ) -> None:
        """Copy ``sources`` to ``destination``, which is absolute and without ``..``.

        With ``directory``, the destination is a directory, and is made if it is missing.  Without
        it, the destination has the type of the source.  With ``replace``, a copy replaces anything
        in its way, as tar(1) does.  Without it, raises BuildError for types that don't fit
        together.
        """
        copier = _Copier(self, tree, replace=replace)
        for source in sources:
            with Closing(tree.open(source.path)) as fd:
                if stat.S_ISDIR(os.fstat(fd).st_mode):
                    with Closing(self.directory(destination)) as target:
                        above: Above = () if tree.follows else None
                        copier.directory(fd, b"", target, destination, source.listing, above=above)
                elif directory:
                    with Closing(self.directory(destination)) as target:
                        copier.file(fd, target, source.name, destination)
                else:
                    copier.file_to_path(fd, source.name, destination)

    def directory(self, path: bytes) -> int:
        """Make the directory ``path`` if it is missing; return it open."""
        owner = self._attributes.owner or _ROOT

        def note(fd: int) -> None:
            self.records.add(self.canonical(fd), OwnerRecord("d", *owner))

        return make_directories(self._root, path, note)

    def open_directory(self, path: bytes) -> int | None:
        """Return the directory at ``path``, open; None if there is none."""
        try:
            return openat2(self._root, path, OPEN_DIRECTORY, RESOLVE_IN_ROOT)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise obstacle(path, error) from error

    def canonical(self, fd: int) -> bytes:
        """Return the path of the directory ``fd`` in the image, without symlinks."""
        return os.readlink(b"/proc/self/fd/%d" % fd)[len(self._prefix) :].strip(b"/")

    def mode(self, mode: int, *, is_directory: bool) -> int:
        """Return the mode of a copy, for a source of ``mode``."""
        change = self._attributes.mode
        mode = stat.S_IMODE(mode)
        return mode if change is None else change.apply(mode, is_directory=is_directory)

    def note(self, path: bytes, kind: str, record: OwnerRecord | None, *, keep: bool) -> None:
        """Record the owner of the copy at ``path``; ``record`` is the record of its source.

        With ``keep``, the owner is that of the source, unless the attributes give another.
        """
        owner = self._attributes.owner
        known = record or OwnerRecord(kind)
        if owner is None and keep:
            owner = (known.uid, known.gid)
        copy = OwnerRecord(
            known.kind,
            *(owner or _ROOT),
            rdev=known.rdev,
            xattrs=known.xattrs,
            guessed=known.guessed and keep and not self._attributes.owner,
        )
        self.records.add(path, copy)


class _Copier:
    """A tree to copy from; remembers hard links among all files that it copies."""

    def __init__(self, placer: Placer, tree: SourceTree, *, replace: bool) -> None:
        self._placer = placer
        self._tree = tree
        self._replace = replace
        # Device and inode of a source → directory and name of its copy.
        self._links: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def file_to_path(self, fd: int, source_name: bytes, path: bytes) -> None:
        """Copy a file to ``path``; if a directory is there, copy it into that."""
        for _ in range(SYMLINK_LIMIT):
            directory, name = os.path.split(path)
            found = self._placer.open_directory(path)
            if found is not None:
                target, directory, name, link = found, path, source_name, None
            else:
                target = self._placer.directory(directory)
                link = link_target(target, name)
            with Closing(target):
                if link is None:
                    self.file(fd, target, name, directory)
                    return
            path = os.path.join(directory, link)
        raise too_many_links(path)

    def directory(
        self,
        source: int,
        relative: bytes,
        target: int,
        path: bytes,
        listing: Listing | None,
        *,
        above: Above,
    ) -> None:
        """Copy the entries of ``source``, which is ``relative`` in its source, to ``target``.

        ``target`` is ``path`` in the image.
        """
        there = self._placer.canonical(target)
        above, follows = below(above, source, relative), self._tree.follows
        for name in names_in(source, relative, listing):
            info = lstat_in(source, name, joined(relative, name), follows=follows)
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFDIR:
                self._subdirectory(
                    source, joined(relative, name), target, path, listing, above=above
                )
                continue
            if kind == stat.S_IFREG:
                with Closing(open_in(source, name, joined(relative, name), follows=follows)) as fd:
                    self.file(fd, target, name, path)
                continue
            if kind == stat.S_IFSOCK:
                continue  # a socket is useless without its process
            if not kind_of(info.st_mode):
                raise unknown_type(os.path.join(path, name))
            self._make_room(target, name, path)
            if kind == stat.S_IFLNK:
                symlink(readlink_in(source, name, joined(relative, name)), name, dir_fd=target)
            else:
                os.mkfifo(name, dir_fd=target)
                mode = self._placer.mode(info.st_mode, is_directory=False)
                os.chmod(name, mode, dir_fd=target)
            times = (info.st_atime_ns, info.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
            self._note(joined(there, name), kind_of(info.st_mode), self._tree.record(source, name))

    def _subdirectory(
        self,
        source: int,
        relative: bytes,
        parent: int,
        path: bytes,
        listing: Listing | None,
        *,
        above: Above,
    ) -> None:
        name = os.path.basename(relative)
        path = os.path.join(path, name)
        check_depth(relative)
        follows = self._tree.follows
        with Closing(open_in(source, name, relative, os.O_DIRECTORY, follows=follows)) as inner:
            if self._replace:
                self._make_room(parent, name, path, for_directory=True)
            existed = self._placer.open_directory(path)
            if existed is not None:
                os.close(existed)
            with Closing(self._placer.directory(path)) as target:
                self.directory(inner, relative, target, path, listing, above=above)
                is_implied = listing is not None and relative in listing.implied
                if existed is None or not is_implied:
                    self._copy_metadata(inner, target, is_directory=True)
                    self._note(self._placer.canonical(target), "d", self._tree.record(inner))

    def file(self, source: int, target: int, name: bytes, path: bytes) -> None:
        """Copy the file ``source`` to ``name`` in ``target``; its path in the image is ``path``."""
        info = os.fstat(source)
        if not stat.S_ISREG(info.st_mode):
            raise unknown_type(name)
        self._make_room(target, name, path)
        canonical = joined(self._placer.canonical(target), name)
        self._note(canonical, "f", self._tree.record(source))
        if info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), (path, name))
            if first != (path, name):
                self._link(first, target, name)
                return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with Closing(os.open(name, flags, 0o600, dir_fd=target)) as copy:
            _copy_contents(source, copy, info.st_size)
            self._copy_metadata(source, copy, is_directory=False)

    def _link(self, first: tuple[bytes, bytes], target: int, name: bytes) -> None:
        directory, first_name = first
        with Closing(self._placer.directory(directory)) as fd:
            os.link(first_name, name, src_dir_fd=fd, dst_dir_fd=target)

    def _copy_metadata(self, source: int, target: int, *, is_directory: bool) -> None:
        """Copy mode, extended attributes, times; mode first, because that clears capabilities."""
        info = os.fstat(source)
        os.chmod(target, self._placer.mode(info.st_mode, is_directory=is_directory))
        for attribute, value in copied_attributes(source):
            os.setxattr(target, attribute, value)
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _note(self, path: bytes, kind: str, record: OwnerRecord | None) -> None:
        self._placer.note(path, kind, record, keep=self._tree.keeps_owners)

    def _make_room(
        self, directory: int, name: bytes, path: bytes, *, for_directory: bool = False
    ) -> None:
        """Remove what is in the way of a file, or of a directory of an archive."""
        try:
            info = os.lstat(name, dir_fd=directory)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=directory)
        elif for_directory:
            return
        elif self._replace:
            remove_tree(name, dir_fd=directory)
        else:
            raise BuildError(
                f"can't copy: a directory is in the way: {printable(os.path.join(path, name))}",
                "remove it in an earlier RUN",
            )


def _copy_contents(source: int, target: int, size: int) -> None:
    """Copy the data of a file that had ``size`` bytes; its holes stay holes.

    If the file grows meanwhile, copy no more than ``size`` bytes.
    """
    os.ftruncate(target, size)
    for start, length in data_extents(source):
        os.lseek(target, min(start, size), os.SEEK_SET)
        offset, end = start, min(start + length, size)
        while offset < end:
            sent = os.sendfile(target, source, offset, min(end - offset, _SEND))
            WATCH.count(sent)
            if not sent:
                return
            offset += sent
