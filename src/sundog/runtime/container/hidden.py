"""Directories of Sundog's own that no container sees: the storage directory, and run-time state.

A program of an image is the same user as Sundog.  So it could write to them where a bind shows a
directory above them.  While binds are copied, an empty read-only tmpfs covers these directories in
this mount namespace.  A copy contains the covers, wherever it shows the directories: no path is
compared, and symbolic links do not matter.  The command can't remove a cover, because its user
namespace is below that of the mounts, or because it has no capabilities (``enter.lock_mounts``).

Nor can it put another directory there: no process can rename a directory on which something is
mounted in its namespace.  So each directory above that this user can rename is mounted on itself.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    mount,
    umount2,
)
from sundog.errors import KernelError
from sundog.runtime.container.paths import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# No directory of a user has this mode: by it, the compiled ``ch-run`` knows a cover.
COVER_MODE = 0o1555
COVER_OPTIONS = b"mode=%o" % COVER_MODE
COVER_FLAGS = MS_RDONLY | MS_NOSUID | MS_NODEV

# Errors of a directory that is not there, or that nobody of this user reaches.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP)


class Hidden:
    """The ``places`` that binds do not show; with ``root``, a directory as root does not, either.

    A place that does not exist, or that is another user's, needs no cover.  Directories above the
    place ``loose`` may be renamed.
    """

    __slots__ = ("_covers", "_loose", "places", "root")

    def __init__(
        self, places: Sequence[bytes] = (), *, root: bool = False, loose: bytes = b""
    ) -> None:
        self.places = list(dict.fromkeys(places))
        self.root = root
        self._loose = loose
        self._covers: list[bytes] = []

    def describe(self) -> list[str]:
        """Describe in lines what it does."""
        return [f"cover {printable(place)} in all binds" for place in self.places]

    def __enter__(self) -> None:
        for place in self.places:
            try:
                directory = os.open(place, OPEN_DIRECTORY)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                continue
            with Closing(directory):
                if os.fstat(directory).st_uid != os.geteuid():
                    continue
                path = b"/proc/self/fd/%d" % directory
                if place != self._loose:
                    path = os.readlink(path)
                    for above in _renameable(path):
                        if above not in self._covers:
                            mount(above, above, None, MS_BIND | MS_REC, None)
                            self._covers.append(above)
                mount(b"sundog", path, b"tmpfs", COVER_FLAGS, COVER_OPTIONS)
                self._covers.append(place)

    def __exit__(self, *_: object) -> None:
        while self._covers:
            try:
                umount2(self._covers.pop(), MNT_DETACH)
            except KernelError as error:  # an image of the user's that moved it at this moment
                if error.errno not in (*_MISSING, errno.EINVAL):
                    raise


def _renameable(path: bytes) -> list[bytes]:
    """Return the directories above ``path`` that this user can rename, the uppermost first."""
    above, found = b"", []
    for name in path.split(b"/")[1:-1]:
        parent, above = above or b"/", b"%b/%b" % (above, name)
        if os.access(parent, os.W_OK):
            found.append(above)
    return found


def checked_binds(
    binds: Iterable[tuple[bytes, bytes, bool | None]],
    places: Iterable[bytes],
    warn: Callable[[str], None],
) -> tuple[list[tuple[bytes, bytes, bool]], set[bytes]]:
    """Return the --bind of a command line, and those sources that lie in one of ``places``.

    A bind is its source, its destination, and whether the command can write there.  A source in
    one of ``places`` is the user's will.  It is read-only unless ``:rw`` is written, and ``warn``
    is told so.
    """
    checked: list[tuple[bytes, bytes, bool]] = []
    own: set[bytes] = set()
    real: list[bytes] = []
    for source, destination, mode in binds:
        real = real or [path for path in map(real_path_of, places) if path]
        is_writable = mode is not False
        if lies_in(source, real):
            own.add(source)
            is_writable = mode is True
            if mode is None:
                warn(
                    f"--bind: {printable(source)} is in a directory of Sundog's own, so it is"
                    f" read-only; write :{printable(destination)}:rw to change that"
                )
        checked.append((source, destination, is_writable))
    return checked, own


def lies_in(path: bytes, places: Iterable[bytes]) -> bool:
    """Tell whether ``path`` is one of ``places``, or below; they have no symbolic links."""
    found = real_path_of(path) + b"/"
    return any(found.startswith(place + b"/") for place in places)


def real_path_of(path: bytes) -> bytes:
    """Return the ``path`` of a file or directory without symbolic links, b"" if it is missing."""
    try:
        with Closing(os.open(path, os.O_PATH | os.O_CLOEXEC)) as fd:
            return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:
        return b""
