"""Read the configuration: the site's files, then the user's, then variables.

    /etc/sundog/sundog.toml, /etc/sundog/sundog.d/*.toml   the site's, by root
    ~/.config/sundog/sundog.toml                           the user's ($XDG_CONFIG_HOME)
    the key's variable

A later source replaces an earlier one, but for keys that add up.  Options are the callers' matter.
A file that others could have changed is not believed: that is a warning, and its keys do not hold.
``SUNDOG_CONFIG=none`` leaves out all files.

Where there are no files, this takes one look-up for the site's and one for the user's.
"""

from __future__ import annotations

import errno
import os

from sundog.base.configuration.keys import ADDING
from sundog.base.kernel.libc import printable
from sundog.base.record.settings import SITE_SETTINGS, user_settings
from sundog.errors import SundogError

SITE_OWNERS = (0,)
SETTINGS_FILE = b"sundog.toml"
SETTINGS_PARTS = b"sundog.d"
SETTINGS_SWITCH, SETTINGS_NONE = b"SUNDOG_CONFIG", b"none"
# It is not there, or in the home of another user: $HOME after su(1).
OUT_OF_REACH = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
_PATHS = "paths"  # the only kind whose variable has several values
_PATHS_LIMIT = 100

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sundog.base.configuration.keys import Key
    from sundog.base.record.location import Variables

    # The values that the files of one level give a key, by its path, and these files, for people.
    Said = dict[str, tuple[tuple[bytes, ...], str]]


class Level:
    """The files of a site, or of a user.

    directory  where they are
    owners     who may have written them
    is_users   whether they are the user's; a user has no directory of parts
    """

    __slots__ = ("directory", "is_users", "owners")

    def __init__(self, directory: bytes, owners: Collection[int], *, is_users: bool) -> None:
        self.directory = directory
        self.owners = owners
        self.is_users = is_users

    def is_there(self) -> bool:
        """Tell whether there may be files."""
        return _is_there(self.directory + b"/" + SETTINGS_FILE if self.is_users else self.directory)


class Holding:
    """The values of all keys, and where each is from.

    warnings  lines about files that are not believed
    """

    __slots__ = ("_environment", "_said", "warnings")

    def __init__(
        self,
        said: dict[str, tuple[tuple[bytes, ...], str, bool]],
        environment: Variables,
        warnings: Sequence[str],
    ) -> None:
        """``said`` has, by the keys' paths, what files say, which, and if one is the user's."""
        self._said = said
        self._environment = environment
        self.warnings = warnings

    def values(self, key: Key) -> tuple[bytes, ...]:
        """Return the values of a key; none if nothing says any.

        Raises SundogError for a mistake in its variable.
        """
        text = self._variable(key)
        return self.said(key) if text is None else _from_variable(key, text)

    def said(self, key: Key) -> tuple[bytes, ...]:
        """Return the values that the files give a key, whatever its variable says."""
        return self._said[key.path][0] if key.path in self._said else ()

    def is_users(self, key: Key) -> bool:
        """Tell whether a file of the user says the values."""
        return key.path in self._said and self._said[key.path][2]

    def source(self, key: Key) -> str:
        """Return where the values of a key are from, for people; "" if nothing says any."""
        if self._variable(key) is not None:
            return f"${key.variable}"
        return self._said[key.path][1] if key.path in self._said else ""

    def _variable(self, key: Key) -> bytes | None:
        """Return the value of the key's variable; an empty one counts only for a list of paths."""
        text = self._environment.get(key.variable.encode()) if key.variable else None
        return text if text or key.kind == _PATHS else None


def read_configuration(environment: Variables) -> Holding:
    """Return what holds for this user.

    Raises SundogError, which names the place, for a mistake in a file.
    """
    warnings: list[str] = []
    found: dict[str, tuple[tuple[bytes, ...], str, bool]] = {}
    for level in levels(environment):
        if not level.is_there():
            continue
        from sundog.base.configuration.files import read_level  # noqa: PLC0415 - few have files

        for path, (values, source) in read_level(level, warnings).items():
            before, earlier, _ = found.get(path, ((), "", False))
            if path in ADDING and earlier:
                found[path] = (*before, *values), f"{earlier}, {source}", level.is_users
            else:
                found[path] = values, source, level.is_users
    return Holding(found, environment, warnings)


def levels(environment: Variables) -> Iterator[Level]:
    """Give the site's files, then the user's.  Raises SundogError for another switch."""
    switch = environment.get(SETTINGS_SWITCH)
    if switch == SETTINGS_NONE:
        return
    if switch:
        variable, word = SETTINGS_SWITCH.decode(), SETTINGS_NONE.decode()
        raise SundogError(f"${variable}: not {word}: {printable(switch)}", f"unset {variable}")
    yield Level(SITE_SETTINGS, SITE_OWNERS, is_users=False)
    own = user_settings(environment)
    if own:
        yield Level(own, (0, os.geteuid()), is_users=True)


def _from_variable(key: Key, text: bytes) -> tuple[bytes, ...]:
    """Return the values that a variable has: the text, or a list with colons between its items."""
    if key.kind != _PATHS:
        return (text,)
    listed = tuple(item for item in text.split(b":") if item)
    if len(listed) > _PATHS_LIMIT or not all(item.startswith(b"/") for item in listed):
        raise SundogError(
            f"${key.variable}: expected a list of at most {_PATHS_LIMIT} absolute paths:"
            f" {printable(text)}",
            "write DIR:DIR:…; an empty value means none",
        )
    return listed


def _is_there(path: bytes) -> bool:
    """Tell whether something is there; what can't be known is taken to be."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno not in OUT_OF_REACH
    return True
