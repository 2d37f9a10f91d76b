"""Read the files of the configuration, which are TOML."""

from __future__ import annotations

import errno
import os
import time

from sundog.base.configuration.compiled import RECORD_LIMIT, pack_record
from sundog.base.configuration.keys import ADDING, KEYS
from sundog.base.configuration.kinds import KINDS
from sundog.base.configuration.level import (
    NO_STAMP,
    OUT_OF_REACH,
    SETTINGS_FILE,
    SETTINGS_NONE,
    SETTINGS_PARTS,
    SETTINGS_SWITCH,
)
from sundog.base.configuration.trusted import open_regular_file, open_trusted
from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import escaped, printable
from sundog.base.kernel.stub import read_all
from sundog.base.spelling import nearest, value_kind
from sundog.errors import Distrusted, SundogError

_PART_END = b".toml"
_SIZE_LIMIT = 1 << 16  # bytes of a file
_PART_LIMIT = 100  # files
_SETTLED = 0.1  # seconds: more than a tick
_HINT = (
    f"{SETTINGS_SWITCH.decode()}={SETTINGS_NONE.decode()} leaves out these files;"
    " see: sundog config --check"
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sundog.base.configuration.keys import Key
    from sundog.base.configuration.level import Level, Said, Stamps


def read_level(
    level: Level,
    warnings: list[str],
    *,
    write: bool = False,
    mistakes: list[SundogError] | None = None,
) -> Said:
    """Return what the files of a level say; ``warnings`` gets lines about others.

    It renews the record of a user; ``write``: that of a site, too.  What hinders this is no error,
    but for a site.  Raises SundogError, which names the place, for a mistake in a file; with
    ``mistakes``, that list gets each.
    """
    began = time.time()
    stamps = level.stamps()
    paths = [level.directory + b"/" + SETTINGS_FILE]
    if not level.is_users:
        parts = _parts(level, warnings)
        stamps += [(path, level.stamp(path)) for path in parts]
        paths += parts
    before = len(warnings)
    said = _read_files(paths, level, warnings, _raise if mistakes is None else mistakes.append)
    if level.is_users:  # what is there no container makes: see ``storage.own_places``
        try:  # noqa: SIM105 - contextlib takes as long as the rest of this
            os.makedirs(os.path.dirname(level.record), 0o700, exist_ok=True)
        except OSError:
            pass
    is_whole = len(warnings) == before and not mistakes
    if is_whole and (write or (level.is_users and _are_settled(stamps, began))):
        try:
            _write_record(level, pack_record(stamps, said))
        except OSError as error:
            if write:
                raise SundogError(
                    f"can't write {printable(level.record)}: {error.strerror}",
                    "starts read the files meanwhile",
                ) from None
    return said


def wait_until_settled(level: Level) -> None:
    """Wait until a change of a file in this moment would give it another stamp."""
    deadline = time.time() + 2 * _SETTLED
    while time.time() < deadline and not _are_settled(level.stamps(), time.time()):
        time.sleep(_SETTLED / 10)


def _are_settled(stamps: Stamps, now: float) -> bool:
    """Tell whether each file has changed long before ``now``.

    A file that changes twice in a tick of the kernel's clock keeps its stamp.
    """
    changes = [stamp.split(b".")[-2:] for _, stamp in stamps if stamp not in (b"", NO_STAMP)]
    return all(int(s) + int(ns) / 1e9 < now - _SETTLED for s, ns in changes)


def _write_record(level: Level, data: bytes) -> None:
    """Write the record of a level.  Raises OSError."""
    if len(data) > RECORD_LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    replace_file(level.record, data, mode=0o600 if level.is_users else 0o644)


def _raise(error: SundogError) -> None:
    raise error


def _read_files(
    paths: Sequence[bytes],
    level: Level,
    warnings: list[str],
    told: Callable[[SundogError], None],
) -> Said:
    """Return what files say, one after the other; ``warnings`` gets lines about others.

    ``told`` gets each mistake, and may raise it.
    """
    said: Said = {}
    for path in paths:
        try:
            data = _contents(path, level.owners)
        except Distrusted as error:
            if os.path.lexists(path):
                warnings.append(_not_believed(path, error))
            continue
        except SundogError as error:
            told(error)
            continue
        if data is None:
            continue
        for key, values in _parsed(path, data, told).items():
            before, source = said.get(key.path, ((), ""))
            if key.path in ADDING and source:
                said[key.path] = (*before, *values), f"{source}, {printable(path)}"
            else:
                said[key.path] = values, printable(path)
    return said


def _parts(level: Level, warnings: list[str]) -> list[bytes]:
    """Return the paths of the files of the directory of parts, in the order of their names."""
    parts = level.directory + b"/" + SETTINGS_PARTS
    try:
        with Closing(open_trusted(parts, level.owners)) as fd:
            listed = os.listdir(b"/proc/self/fd/%d" % fd)
    except OSError as error:
        if error.errno not in OUT_OF_REACH:
            raise _unreadable(parts, error) from None
        return []
    except Distrusted as error:
        if os.path.lexists(parts):
            warnings.append(_not_believed(parts, error))
        return []
    names = sorted(name for name in listed if name.endswith(_PART_END) and name[:1] != b".")
    if len(names) > _PART_LIMIT:
        raise SundogError(f"{printable(parts)}: more than {_PART_LIMIT} files", _HINT)
    return [parts + b"/" + name for name in names]


def _contents(path: bytes, owners: Collection[int]) -> bytes | None:
    """Return the contents of a file, None if it is not there.  Raises SundogError."""
    try:
        found = open_trusted(path, owners)
    except OSError as error:
        if error.errno in OUT_OF_REACH:
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


def _parsed(
    path: bytes, data: bytes, told: Callable[[SundogError], None]
) -> dict[Key, tuple[bytes, ...]]:
    """Return the values in a file; ``told`` gets each mistake in it, and may raise it."""
    import tomllib  # noqa: PLC0415 - a record takes its place at most starts

    shown = printable(path)
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        why = escaped(str(error)) or "nested too deeply"
        told(SundogError(f"{shown}: not TOML: {why}", _HINT))
        return {}
    known = {key.path: key for key in KEYS}
    sections = {key.section for key in KEYS}
    values = {}
    for section, table in document.items():
        if section not in sections:
            told(_unknown(shown, "table", section, sections))
            continue
        if not isinstance(table, dict):
            what = f"expected a table, found {value_kind(table)}"
            told(SundogError(f"{shown}: {section}: {what}", _HINT))
            continue
        for name, value in table.items():
            key = known.get(f"{section}.{name}")
            if key is None:
                names = [key.name for key in KEYS if key.section == section]
                told(_unknown(shown, f"key in [{section}]", name, names))
                continue
            kind = KINDS[key.kind]
            read = kind.read(value)
            if read is None:
                told(SundogError(f"{shown}: {key.path}: expected {kind.words}", _HINT))
            else:
                values[key] = read
    return values


def _unknown(shown: str, what: str, name: str, known: Collection[str]) -> SundogError:
    near = nearest(name, sorted(known))
    more = f"did you mean {near}?" if near else f"known: {' '.join(sorted(known))}"
    return SundogError(f"{shown}: unknown {what}: {escaped(name)}; {more}", _HINT)


def _not_believed(path: bytes, error: Distrusted) -> str:
    return f"{printable(path)} is not believed: {error.message}"


def _unreadable(path: bytes, error: OSError) -> SundogError:
    return SundogError(f"can't read {printable(path)}: {error.strerror}", _HINT)
