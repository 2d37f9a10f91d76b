"""Directories of the user on top of an image: ``ch-run --overlay DIR[:ro]``.

    DIR/upper   what commands have changed: the upper directory of an overlay
    DIR/work    its work directory
    DIR/owners  the records of owners, with --notify: ``record.owners``

A directory without ``upper`` is a layer itself if it is read-only.  Programs of an image can reach
such a directory where a bind shows it.  So no link in it is followed, and what is in a directory of
Sundog's own is refused: there, an overlay would be a way to write.

Use these in the container's namespaces, and before the change of root.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.record.kept import CONTAINER_UPPER, CONTAINER_WORK
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.hidden import lies_in, real_path_of
from sundog.runtime.container.paths import OPEN_DIRECTORY, exists, lexists
from sundog.runtime.container.root import OverlayRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sundog.runtime.container.root import Root

_INSIDE = OPEN_DIRECTORY | os.O_NOFOLLOW
_FILE_HINT = "only directories can be overlays: mkdir DIR, then --overlay DIR"
_KERNEL_HINT = "DIR must be on a local file system that overlayfs takes as upper, such as ext4, xfs"


class OverlayDirectory:
    """A directory of --overlay, open.

    path     its name in messages
    place    a path of it that no program can change: that of a descriptor
    tree     one of the directory with its files
    work     one of the work directory; b"" if it is read-only
    """

    __slots__ = ("path", "place", "tree", "work")

    def __init__(self, path: bytes, places: Iterable[bytes], *, is_writable: bool) -> None:
        """Open it; make what is missing.  Raises SundogError.

        ``places`` are directories of Sundog's own.
        """
        self.path = path
        try:
            directory = os.open(path, OPEN_DIRECTORY)
            self.place = _place(directory)
            self._refuse_own(places)
            if is_writable:
                self._refuse_others(directory)
            self.tree = self.work = b""
            if is_writable or exists(self.place + b"/" + CONTAINER_UPPER):
                self.tree = _inside(directory, CONTAINER_UPPER, is_made=is_writable)
            if is_writable:
                self.work = _inside(directory, CONTAINER_WORK, is_made=True)
        except NotADirectoryError:
            raise SundogError(
                f"--overlay: not a directory: {printable(path)}", _FILE_HINT
            ) from None
        except OSError as error:
            raise SundogError(
                f"--overlay: can't use {printable(path)}: {error.strerror}",
                "it must be a directory of yours",
            ) from None
        self.tree = self.tree or self.place

    def _refuse_own(self, places: Iterable[bytes]) -> None:
        real = [place for place in map(real_path_of, places) if place]
        here = real_path_of(self.place)
        if lies_in(self.place, real) or any(lies_in(place, [here]) for place in real):
            raise SundogError(
                f"--overlay: {printable(self.path)} is, or contains, a directory of Sundog's own",
                "give another directory",
            )

    def _refuse_others(self, directory: int) -> None:
        if os.fstat(directory).st_uid != os.geteuid():
            raise SundogError(
                f"--overlay: not a directory of yours: {printable(self.path)}",
                "--overlay DIR:ro shows it read-only",
            )


class _OverlaidRoot:
    """A root with directories on top: the first is the topmost, and may be writable.

    See ``root.Root``.
    """

    __slots__ = ("_overlays", "_root")

    directory = b""

    def __init__(self, root: Root, overlays: Sequence[OverlayDirectory]) -> None:
        self._root = root
        self._overlays = overlays

    @property
    def binds(self) -> tuple[tuple[bytes, bytes], ...]:
        """See ``Root``."""
        return self._root.binds

    def describe(self, *, writable: bool) -> str:
        """See ``Root``."""
        names = ", ".join(printable(each.path) for each in self._overlays)
        return f"{self._root.describe(writable=writable)}, below {names}"

    def hold(self, *, writable: bool) -> int:  # noqa: ARG002 - the overlays decide
        """See ``Root``: nothing."""
        return -1

    def mount(self, held: int) -> int:
        """See ``Root``."""
        try:
            return self._overlay().mount(held)
        except KernelError as error:
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                error.hint = _KERNEL_HINT
            raise

    def show(self, place: bytes) -> tuple[int, int]:
        """See ``Root``."""
        return self._overlay().show(place)

    def lowers(self) -> tuple[bytes, list[bytes]]:
        """See ``Root``."""
        base, lowers = self._root.lowers()
        return base, [*(each.tree for each in self._overlays), *lowers]

    def unchanged(self) -> Root:
        """See ``Root``."""
        return _OverlaidRoot(self._root, [each for each in self._overlays if not each.work])

    def _overlay(self) -> OverlayRoot:
        base, lowers = self.lowers()
        top = self._overlays[0]
        if not top.work:
            return OverlayRoot(base, lowers)
        return OverlayRoot(base, lowers[1:], top.tree, top.work)


def overlaid_root(
    root: Root, given: Sequence[tuple[bytes, bool]], places: Iterable[bytes]
) -> tuple[_OverlaidRoot, list[OverlayDirectory]]:
    """Return ``root`` with the directories of --overlay on top, and these, topmost first.

    The last one that is given is the topmost.

    One that is writable is above all others.  ``places`` are directories of Sundog's own.  Raises
    SundogError.
    """
    last_first = given[::-1]
    ordered = [each for each in last_first if each[1]] + [
        each for each in last_first if not each[1]
    ]
    places = list(places)
    overlays = [
        OverlayDirectory(path, places, is_writable=is_writable) for path, is_writable in ordered
    ]
    return _OverlaidRoot(root, overlays), overlays


def _place(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def _inside(directory: int, name: bytes, *, is_made: bool) -> bytes:
    """Open a directory in ``directory``; return a path of it.  Raises OSError."""
    if is_made and not lexists(name, directory):
        os.mkdir(name, 0o755, dir_fd=directory)
    return _place(os.open(name, _INSIDE, dir_fd=directory))
