"""Read the configuration: the site's files, then the user's, then variables.

    /etc/sundog/sundog.toml, /etc/sundog/sundog.d/*.toml   the site's, by root
    ~/.config/sundog/sundog.toml                           the user's ($XDG_CONFIG_HOME)
    the key's variable

A later source replaces an earlier one, but for keys that add up.  Options are the callers' matter.
A file that others could have changed is not believed: that is a warning, and its keys do not hold.
``SUNDOG_CONFIG=none`` leaves out all files.

Where there are no files, this takes one look-up for the site's and one for the user's.  Where there
are, a compiled record has what they say: ``compiled``.
"""

from __future__ import annotations

from sundog.base.configuration.compiled import read_record
from sundog.base.configuration.keys import ADDING, KEYS
from sundog.base.configuration.level import levels
from sundog.base.configuration.templates import variables_in
from sundog.base.kernel.libc import decode_text, printable
from sundog.errors import SundogError

# The kinds whose variables have several values; an empty variable of paths means none.
_PATHS, _DIRECTORIES = "paths", "directories"
_PATHS_LIMIT = 100
_TEMPLATES = ("place", "places", "binds")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.configuration.keys import Key
    from sundog.base.record.location import Variables


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

    def place(self, key: Key) -> str:
        """Return where a mistake in what files say of the key is, for errors."""
        return f"{self._said[key.path][1]}: {key.path}"

    def _variable(self, key: Key) -> bytes | None:
        """Return the value of the key's variable; an empty one counts only for a list of paths."""
        text = self._environment.get(key.variable.encode()) if key.variable else None
        return text if text or key.kind == _PATHS else None


def read_configuration(
    environment: Variables, mistakes: list[SundogError] | None = None
) -> Holding:
    """Return what holds for this user.

    Raises SundogError, which names the place, for a mistake in a file.  With ``mistakes``, that
    list gets each, and the files are read whatever the records say.
    """
    warnings: list[str] = []
    found: dict[str, tuple[tuple[bytes, ...], str, bool]] = {}
    for level in levels(environment):
        stamps = level.stamps()
        is_strict = mistakes is not None
        said = {} if not stamps else None if is_strict else read_record(level, stamps)
        if said is None:
            from sundog.base.configuration.files import read_level  # noqa: PLC0415 - seldom

            said = read_level(level, warnings, mistakes=mistakes)
        for path, (values, source) in said.items():
            before, earlier, _ = found.get(path, ((), "", False))
            if path in ADDING and earlier:
                found[path] = (*before, *values), f"{earlier}, {source}", level.is_users
            else:
                found[path] = values, source, level.is_users
    return Holding(found, environment, warnings)


def named_variables(environment: Variables) -> set[str]:
    """Return the names of the variables in the paths that the files say.

    A process that starts another one with fewer variables must pass these on.
    """
    holding = read_configuration(environment)
    said = [value for key in KEYS if key.kind in _TEMPLATES for value in holding.said(key)]
    return {decode_text(name) for value in said for name in variables_in(value)}


def _from_variable(key: Key, text: bytes) -> tuple[bytes, ...]:
    """Return the values that a variable has: the text, or a list with colons between its items."""
    if key.kind not in (_PATHS, _DIRECTORIES):
        return (text,)
    listed = tuple(item for item in text.split(b":") if item)
    if key.kind == _DIRECTORIES:
        return listed
    if len(listed) > _PATHS_LIMIT or not all(item.startswith(b"/") for item in listed):
        raise SundogError(
            f"${key.variable}: expected a list of at most {_PATHS_LIMIT} absolute paths:"
            f" {printable(text)}",
            "write DIR:DIR:…; an empty value means none",
        )
    return listed
