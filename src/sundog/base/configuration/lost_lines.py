"""The number of lines of the log that were lost, until a line tells it.

It is in the name of an empty file in the directory of the user's record, in which no container
writes:

    lost-log-lines.RANDOM.NUMBER

To add to it is to rename the file, and to take it is to remove it.  Both happen once or not at all,
so commands side by side need no lock; who finds a file gone adds to a new one.  If a command is
killed while it writes a line, the number that this line would have told is forgotten.
"""

from __future__ import annotations

import os

from sundog.base.configuration.trusted import open_trusted
from sundog.base.kernel.files import Closing
from sundog.base.record.settings import user_records
from sundog.errors import Distrusted

_NAME = b"lost-log-lines."
_DIGITS_LIMIT = 9
_MADE = 2  # directories: XDG wants the user's caches to be made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.location import Variables


class LostLines:
    """The number that is kept for this user; make it in the host's namespaces.

    Where the directory can't be made, or others can change it, nothing is counted.
    """

    __slots__ = ("_directory",)

    def __init__(self, environment: Variables) -> None:
        self._directory = -1
        path = user_records(environment)
        try:
            if os.path.dirname(path) != b"/":
                self._directory = _opened(path, _MADE)
        except (OSError, Distrusted):
            pass

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that the other methods need."""
        return () if self._directory < 0 else (self._directory,)

    def close(self) -> None:
        """Close them."""
        for fd in self.descriptors():
            os.close(fd)
        self._directory = -1

    def take(self) -> int:
        """Return the number; from now on it is 0.  Of commands side by side, one gets it."""
        taken = 0
        for name, count in self._kept():
            try:
                os.unlink(name, dir_fd=self._directory)
                taken += count
            except OSError:
                pass
        return taken

    def add(self, count: int) -> None:
        """Add lines.  What hinders it is no error."""
        at = self._directory
        try:
            for name, before in self._kept()[:1]:
                head, _, _ = name.rpartition(b".")
                try:
                    more = b"%b.%d" % (head, before + count)
                    os.rename(name, more, src_dir_fd=at, dst_dir_fd=at)
                except FileNotFoundError:  # a command beside this one
                    continue
                return
            name = b"%b%b.%d" % (_NAME, os.urandom(6).hex().encode(), count)
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at))
        except OSError:
            pass

    def _kept(self) -> list[tuple[bytes, int]]:
        """Return the names of the files, and the numbers that they tell."""
        found = []
        for name in map(os.fsencode, os.listdir(self._directory) if self.descriptors() else ()):
            _, _, digits = name.rpartition(b".")
            if name.startswith(_NAME) and digits.isdigit() and len(digits) <= _DIGITS_LIMIT:
                found.append((name, int(digits)))
        return found


def _opened(path: bytes, made: int) -> int:
    """Open a directory, and make up to ``made`` that lack.  Raises OSError and Distrusted."""
    owners = (0, os.geteuid())
    try:
        with Closing(open_trusted(path, owners)) as fd:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            return os.open(b"/proc/self/fd/%d" % fd, flags)
    except FileNotFoundError:
        if not made:
            raise
    parent, name = os.path.split(path)
    with Closing(_opened(parent, made - 1)) as fd:
        try:  # noqa: SIM105 - contextlib takes as long as the rest of a start
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            pass  # a command beside this one
    return _opened(path, 0)
