"""The dynamic linker's view of an image: its own ``ldconfig``, run in the image, and nothing kept.

The program is the image's, so it runs as a RUN does: as mock root, contained.  What it writes goes
into a tmpfs over the image (overlayfs), and the caller takes from there what belongs to the image.

The calling process is in a mount namespace of its own, as mock root.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from dataclasses import dataclass

from sundog.base.kernel.advice import hint_of
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import descriptor_path, printable
from sundog.base.kernel.mounts import MS_NODEV, MS_NOSUID, mount
from sundog.errors import KernelError, SundogError
from sundog.image.fromhost.tree import Tree
from sundog.image.layer.remove import remove_tree
from sundog.runtime.container.root import OverlayRoot
from sundog.runtime.steps.command import Step, StepOptions
from sundog.runtime.steps.step import run_step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LDCONFIG = b"/sbin/ldconfig"
_ENVIRONMENT = {b"PATH": b"/usr/sbin:/usr/bin:/sbin:/bin", b"LC_ALL": b"C"}
_TMPFS = b"mode=755,size=64m,nr_inodes=100k"
_OUTPUT_LIMIT = 4 << 20  # bytes, on each stream
_CACHE = b"etc/ld.so.cache"
_AUXILIARY_CACHE = b"var/cache/ldconfig/aux-cache"
_USUALLY_EMPTY = (b"media", b"mnt", b"srv")
_NO_LDCONFIG = "name the directory by --dest, and leave out the linker's cache by --no-ldconfig"


@dataclass(frozen=True, slots=True)
class Change:
    """One file that ldconfig made at ``path``: a symlink to ``target``, or a file at ``copy``."""

    path: bytes
    target: bytes
    copy: bytes


class Linker:
    """The linker of an image; ``report`` gets what it says."""

    def __init__(self, tree: Tree, needed: Sequence[bytes], report: Callable[[str], None]) -> None:
        """Mount a tmpfs, in this process's mount namespace, where none of ``needed`` is."""
        self._tree = tree
        self._image = image = descriptor_path(tree.fd)
        self._report = report
        self._place = _unneeded_directory([image, *needed])
        mount(b"sundog", self._place, b"tmpfs", MS_NOSUID | MS_NODEV, _TMPFS)
        self._searched: list[bytes] | None = None
        self._known: list[tuple[bytes, bytes]] | None = None

    def directories(self) -> list[bytes]:
        """Return the directories that the linker searches, in this order.  Raises SundogError."""
        if self._searched is None:
            lines = self._run(self._root(), [b"-NXv"], []).split(b"\n")
            found = [line.partition(b":")[0] for line in lines if line and not line[:1].isspace()]
            if not found:
                raise SundogError("empty path from ldconfig", _NO_LDCONFIG)
            if not found[0].startswith(b"/"):
                raise SundogError(f"bad path from ldconfig: {printable(found[0])}", _NO_LDCONFIG)
            self._searched = found
        return self._searched

    def libraries(self) -> list[tuple[bytes, bytes]]:
        """Return names and paths in the image's cache of libraries (ldconfig -p)."""
        if self._tree.status(_CACHE) is None:
            return []
        if self._known is None:
            found = []
            for line in self._run(self._root(), [b"-p"], []).split(b"\n"):
                name, arrow, path = line.strip().partition(b" => ")
                if arrow and path.startswith(b"/"):
                    found.append((name.split(b" ")[0], path))
            self._known = found
        return self._known

    def changes(self, files: Mapping[bytes, bytes]) -> list[Change]:
        """Run ldconfig with ``files`` in the image (path → the host's file); return what it makes.

        That is its caches, and symlinks in the directories that the linker searches.  Paths are
        those of ``Tree``, resolved.
        """
        searched = set(filter(None, map(self._tree.resolved_directory, self.directories())))
        notes = {
            os.path.join(directory, os.path.basename(path))
            for path in (_CACHE, _AUXILIARY_CACHE)
            if (directory := self._tree.resolved_directory(os.path.dirname(path)))
        }
        root = self._root()
        binds = [(source, b"/" + path, True) for path, source in files.items()]
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with Closing(os.open(os.path.join(self._place, b"upper"), flags)) as upper:
            directories = {*searched, *map(os.path.dirname, notes)}
            self._prepare(Tree(upper), sorted(directories), list(files))
            self._run(root, [], binds)
            changes = []
            for path, status in Tree(upper).walk():
                copy = os.path.join(self._place, b"upper", path)
                if path in notes and stat.S_ISREG(status.st_mode):
                    changes.append(Change(path, b"", copy))
                elif (
                    os.path.dirname(path) in searched
                    and path not in files
                    and stat.S_ISLNK(status.st_mode)
                ):
                    changes.append(Change(path, os.readlink(copy), copy))
            return changes

    def _prepare(self, upper: Tree, directories: list[bytes], files: list[bytes]) -> None:
        """Make the directories in which ldconfig writes, and an empty file for each of ``files``.

        overlayfs would have to copy a directory with its group, which fails for a group that this
        user namespace does not know.
        """
        for directory in (*directories, *map(os.path.dirname, files)):
            names = directory.split(b"/")
            for end in range(1, len(names) + 1):
                path = b"/".join(names[:end])
                status = self._tree.status(path)
                mode = 0o755 if status is None else stat.S_IMODE(status.st_mode) | stat.S_IRWXU
                upper.make_directories(path, mode)
        for path in files:
            with Closing(upper.open(os.path.dirname(path))) as fd:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(os.path.basename(path), flags, 0o644, dir_fd=fd))

    def _root(self) -> OverlayRoot:
        """Return the image below an empty upper."""
        for name in (b"upper", b"work"):
            path = os.path.join(self._place, name)
            remove_tree(path)
            os.mkdir(path, 0o755)
        return OverlayRoot(self._place, [self._image], b"upper", b"work", volatile=True)

    def _run(
        self, root: OverlayRoot, options: list[bytes], binds: Sequence[tuple[bytes, bytes, bool]]
    ) -> bytes:
        """Run ldconfig; return its standard output.  Raises SundogError if it fails."""
        with Closing(_bounded_file()) as output, Closing(_bounded_file()) as errors:
            step = Step(
                root,
                [_LDCONFIG, *options],
                _ENVIRONMENT,
                b"/",
                StepOptions(binds=binds, stdout=output, stderr=errors),
            )
            try:
                status = run_step(step)
            except KernelError as error:
                error.hint = hint_of(error) or _NO_LDCONFIG
                raise
            except SundogError as error:
                raise SundogError(f"ldconfig error: {error.message}", _NO_LDCONFIG) from error
            except OSError as error:
                if error.errno != errno.EPERM:
                    raise
                raise SundogError("ldconfig error: it prints too much", _NO_LDCONFIG) from None
            said = _contents(errors)
            for line in said.split(b"\n"):
                if line:
                    self._report(line.decode("utf-8", "backslashreplace"))
            if status:
                last = printable(said.strip().rpartition(b"\n")[2])
                raise SundogError(f"ldconfig error: exit status {status}: {last}", _NO_LDCONFIG)
            return _contents(output)


def _unneeded_directory(needed: Sequence[bytes]) -> bytes:
    """Return a directory of the host's root in which nothing that this process needs is."""
    python = map(os.fsencode, (sys.prefix, *sys.path))
    kept = {
        variant.split(b"/")[1]
        for path in (*needed, b"/dev", b"/etc", b"/proc", b"/sys", *python)
        for variant in (os.path.abspath(path), os.path.realpath(path))
    }
    names = set(os.listdir(b"/")) - kept
    for name in sorted(names, key=lambda name: (name not in _USUALLY_EMPTY, name)):
        path = b"/" + name
        if not os.path.islink(path) and os.path.isdir(path):
            return path
    raise SundogError("every directory in / is needed", "move the image below another one")


def _bounded_file() -> int:
    """Return a file without a name that cannot grow beyond ``_OUTPUT_LIMIT``."""
    fd = os.memfd_create("ldconfig", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, _OUTPUT_LIMIT)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return fd


def _contents(fd: int) -> bytes:
    """Return what was written to a ``_bounded_file``."""
    size = os.lseek(fd, 0, os.SEEK_CUR)
    return os.pread(fd, size, 0)
