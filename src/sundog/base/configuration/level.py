"""The levels of the configuration: the site's files and the user's, and the stamps of files."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.record.settings import SITE_SETTINGS, user_records, user_settings
from sundog.errors import SundogError

SITE_OWNERS = (0,)
SETTINGS_FILE = b"sundog.toml"
SETTINGS_PARTS = b"sundog.d"
SETTINGS_SWITCH, SETTINGS_NONE = b"SUNDOG_CONFIG", b"none"
# It is not there, or in the home of another user: $HOME after su(1).
OUT_OF_REACH = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
RECORD_NAME = b"sundog.record"
NO_STAMP = b"-"  # of a file that is not there
_NANOSECONDS = 10**9
_INODE_BITS = (1 << 63) - 1  # a long of C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sundog.base.record.location import Variables

    # The values that the files of one level give a key, by its path, and these files, for people.
    Said = dict[str, tuple[tuple[bytes, ...], str]]

    # Paths of files, each with its stamp.
    Stamps = Sequence[tuple[bytes, bytes]]


class Level:
    """The files of a site, or of a user.

    directory  where they are
    owners     who may have written them
    record     the path of their compiled record, which only the user ``writer`` may have written
    is_users   whether they are the user's; a user has no directory of parts
    """

    __slots__ = ("directory", "is_users", "owners", "record", "writer")

    def __init__(self, directory: bytes, records: bytes, owners: Collection[int]) -> None:
        """``records`` is the directory of the record; the site's is beside its files."""
        self.directory = directory
        self.owners = owners
        self.record = records + b"/" + RECORD_NAME
        self.is_users = directory != records
        self.writer = os.geteuid() if self.is_users else SITE_OWNERS[-1]

    def stamps(self) -> list[tuple[bytes, bytes]]:
        """Return the file and the directory of parts with their stamps; [] if none is there."""
        if not self.is_users and self.stamp(self.directory) == NO_STAMP:
            return []
        names = (SETTINGS_FILE,) if self.is_users else (SETTINGS_FILE, SETTINGS_PARTS)
        paths = [self.directory + b"/" + name for name in names]
        found = [(path, self.stamp(path)) for path in paths]
        return found if any(stamp != NO_STAMP for _, stamp in found) else []

    def stamp(self, path: bytes) -> bytes:
        """Return the stamp of a file; b"" if it can't be known."""
        try:
            return _stamp_of(os.stat(path))
        except OSError as error:
            return NO_STAMP if error.errno in OUT_OF_REACH else b""


def levels(environment: Variables) -> Iterator[Level]:
    """Give the site's files, then the user's.  Raises SundogError for another switch."""
    switch = environment.get(SETTINGS_SWITCH)
    if switch == SETTINGS_NONE:
        return
    if switch:
        variable, word = SETTINGS_SWITCH.decode(), SETTINGS_NONE.decode()
        raise SundogError(f"${variable}: not {word}: {printable(switch)}", f"unset {variable}")
    yield Level(SITE_SETTINGS, SITE_SETTINGS, SITE_OWNERS)
    own, records = user_settings(environment), user_records(environment)
    if own:
        yield Level(own, records, (0, os.geteuid()))


def _stamp_of(status: os.stat_result) -> bytes:
    """Return what another file, or a changed one, has otherwise."""
    modified, changed = (
        divmod(status.st_mtime_ns, _NANOSECONDS),
        divmod(status.st_ctime_ns, _NANOSECONDS),
    )
    inode = status.st_ino & _INODE_BITS
    return b"%d.%d.%d.%d.%d.%d" % (inode, status.st_size, *modified, *changed)
