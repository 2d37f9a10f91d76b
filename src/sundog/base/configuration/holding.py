"""Read the configuration: the site's files, then the user's, then variables.

    /etc/sundog/sundog.toml, /etc/sundog/sundog.d/*.toml   the site's, by root
    ~/.config/sundog/sundog.toml                           the user's ($XDG_CONFIG_HOME)
    the key's variable

A later source replaces an earlier one, but for keys that add up.  Options are the callers' matter.
A file that others could have changed is not believed: that is a warning, and its keys do not hold.
``SUNDOG_CONFIG=none`` leaves out all files.
"""

from __future__ import annotations

import errno
import os

from sundog.base.configuration.keys import KEYS
from sundog.base.configuration.trusted import open_regular_file, open_trusted
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import escaped, printable
from sundog.base.kernel.stub import read_all
from sundog.base.record.settings import SITE_SETTINGS, settings_of
from sundog.base.spelling import nearest, value_kind
from sundog.errors import Distrusted, SundogError

SITE_OWNERS = (0,)
_FILE = b"sundog.toml"
_PARTS = b"sundog.d"
_PART_END = b".toml"
_SWITCH, _NONE = b"SUNDOG_CONFIG", b"none"
_SIZE_LIMIT = 1 << 16  # bytes of a file
_PART_LIMIT = 100  # files
_HINT = f"{_SWITCH.decode()}={_NONE.decode()} leaves out these files; see: sundog config --check"
# It is not there, or in the home of another user: $HOME after su(1).
_OUT_OF_REACH = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sundog.base.configuration.keys import Key
    from sundog.base.record.location import Variables


class Holding:
    """The values of all keys, and where each is from.

    warnings  lines about files that are not believed
    """

    __slots__ = ("_values", "warnings")

    def __init__(
        self, values: dict[Key, tuple[tuple[bytes, ...], str]], warnings: Sequence[str]
    ) -> None:
        self._values = values
        self.warnings = warnings

    def values(self, key: Key) -> tuple[bytes, ...]:
        """Return the values of a key; none if nothing says any."""
        return self._values.get(key, ((), ""))[0]

    def source(self, key: Key) -> str:
        """Return where the values of a key are from, for people; "" if nothing says any."""
        return self._values.get(key, ((), ""))[1]


def read_configuration(environment: Variables) -> Holding:
    """Return what holds for this user.

    Raises SundogError, which names the place, for a file or a variable with a mistake.
    """
    values: dict[Key, tuple[tuple[bytes, ...], str]] = {}
    warnings: list[str] = []
    for path, owners in _files(environment, warnings):
        try:
            data = _contents(path, owners)
        except Distrusted as error:
            if os.path.lexists(path):
                warnings.append(_not_believed(path, error))
            continue
        if data is None:
            continue
        for key, read in _parsed(path, data).items():
            before, source = values.get(key, ((), ""))
            if key.adds_up and source:
                values[key] = (*before, *read), f"{source}, {printable(path)}"
            else:
                values[key] = read, printable(path)
    for key in KEYS:
        text = environment.get(key.variable.encode()) if key.variable else None
        if text is not None:
            values[key] = _from_variable(key, text), f"${key.variable}"
    return Holding(values, warnings)


def _files(environment: Variables, warnings: list[str]) -> Iterator[tuple[bytes, Collection[int]]]:
    """Return the paths of files that may be there, and who may have written each."""
    switch = environment.get(_SWITCH)
    if switch == _NONE:
        return
    if switch:
        variable, word = _SWITCH.decode(), _NONE.decode()
        raise SundogError(f"${variable}: not {word}: {printable(switch)}", f"unset {variable}")
    yield SITE_SETTINGS + b"/" + _FILE, SITE_OWNERS
    parts = SITE_SETTINGS + b"/" + _PARTS
    try:
        with Closing(open_trusted(parts, SITE_OWNERS)) as fd:
            listed = os.listdir(b"/proc/self/fd/%d" % fd)
    except OSError as error:
        if error.errno not in _OUT_OF_REACH:
            raise _unreadable(parts, error) from None
        listed = []
    except Distrusted as error:
        if os.path.lexists(parts):
            warnings.append(_not_believed(parts, error))
        listed = []
    names = sorted(name for name in listed if name.endswith(_PART_END) and name[:1] != b".")
    if len(names) > _PART_LIMIT:
        raise SundogError(f"{printable(parts)}: more than {_PART_LIMIT} files", _HINT)
    for name in names:
        yield parts + b"/" + name, SITE_OWNERS
    own = settings_of(environment)
    if own:
        yield own + b"/" + _FILE, (0, os.geteuid())


def _contents(path: bytes, owners: Collection[int]) -> bytes | None:
    """Return the contents of a file, None if it is not there.  Raises SundogError."""
    try:
        found = open_trusted(path, owners)
    except OSError as error:
        if error.errno in _OUT_OF_REACH:
            return None
        raise _unreadable(path, error) from None
    with Closing(found):
        try:
            file = open_regular_file(found, path)
        except OSError as error:
            raise _unreadable(path, error) from None
        with Closing(file):
            if os.fstat(file).st_size > _SIZE_LIMIT:
                raise SundogError(f"{printable(path)}: larger than {_SIZE_LIMIT:,} bytes", _HINT)
            return read_all(file)


def _parsed(path: bytes, data: bytes) -> dict[Key, tuple[bytes, ...]]:
    """Return the values in a file.  Raises SundogError for a mistake in it."""
    import tomllib  # noqa: PLC0415 - few starts read a file

    shown = printable(path)
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        why = escaped(str(error)) or "nested too deeply"
        raise SundogError(f"{shown}: not TOML: {why}", _HINT) from None
    known = {key.path: key for key in KEYS}
    sections = {key.section for key in KEYS}
    values = {}
    for section, table in document.items():
        if section not in sections:
            raise _unknown(shown, "table", section, sections)
        if not isinstance(table, dict):
            raise SundogError(
                f"{shown}: {section}: expected a table, found {value_kind(table)}", _HINT
            )
        for name, value in table.items():
            key = known.get(f"{section}.{name}")
            if key is None:
                names = [key.name for key in KEYS if key.section == section]
                raise _unknown(shown, f"key in [{section}]", name, names)
            read = key.kind.read(value)
            if read is None:
                raise SundogError(f"{shown}: {key.path}: expected {key.kind.words}", _HINT)
            values[key] = read
    return values


def _from_variable(key: Key, text: bytes) -> tuple[bytes, ...]:
    """Return the values that a variable has, with colons between them."""
    listed = [item for item in text.split(b":") if item]
    read = key.kind.read([os.fsdecode(item) for item in listed])
    if read is None:
        raise SundogError(
            f"${key.variable}: expected {key.kind.words}: {printable(text)}",
            "write DIR:DIR:…; an empty value means none",
        )
    return read


def _unknown(shown: str, what: str, name: str, known: Collection[str]) -> SundogError:
    near = nearest(name, sorted(known))
    more = f"did you mean {near}?" if near else f"known: {' '.join(sorted(known))}"
    return SundogError(f"{shown}: unknown {what}: {escaped(name)}; {more}", _HINT)


def _not_believed(path: bytes, error: Distrusted) -> str:
    return f"{printable(path)} is not believed: {error.message}"


def _unreadable(path: bytes, error: OSError) -> SundogError:
    return SundogError(f"can't read {printable(path)}: {error.strerror}", _HINT)
