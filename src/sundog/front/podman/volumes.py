"""-v, --mount and --tmpfs of ``sundog run``, and -v of ``sundog build``, as binds.

Specification: podman-run(1), --volume, --mount and --tmpfs; podman-build(1), --volume; docker(1)
for the form of Booleans.
"""

from __future__ import annotations

import os

from sundog.base.spelling import BOOLEANS
from sundog.errors import SundogError, UsageError
from sundog.front.options import one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Modes of -v that change nothing here: labels of SELinux, propagation, and what always holds.
_PROPAGATION = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_HELD_MODES = frozenset(
    {"z", "Z", "rbind", "bind", *_PROPAGATION}
    | {"nodev", "dev", "nosuid", "suid", "exec"}
    | {"cached", "delegated", "consistent", "copy", "nocopy"}
)  # fmt: skip
_WRITABLE = {"ro": False, "rw": True}
_ACCESS = {None: (), False: ("ro",), True: ("rw",)}
_OWNED = "U"
_VOLUME_HINT = "write -v SRC:DST[:ro], SRC with a slash in it"
_MOUNT_HINT = "write --mount type=bind,src=SRC,dst=DST[,ro]"

_SPELLINGS = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "readonly": "ro",
    "chown": "U",
}
_TMPFS_FIELDS = {"tmpfs-mode": "mode", "tmpfs-size": "size"}
# Options of --tmpfs that hold in any case, and that ch-run has not.
_HELD_TMPFS = ("notmpcopyup", "private", "rprivate")
# The fields of a --mount that change nothing here, with the values for which that is so.
_HELD_FIELDS: dict[str, Callable[[str], bool]] = {
    "bind-nonrecursive": lambda value: BOOLEANS.get(value) is False,
    "bind-propagation": one_of(*_PROPAGATION),
    "bind-recursive": one_of("enabled"),
    "consistency": one_of("cached", "consistent", "default", "delegated"),
    "relabel": one_of("private", "shared"),
}


class Volume:
    """A file or directory of the host, and its path in the container.

    source     an absolute path, which exists
    target     an absolute path
    writable   whether the container can write there; None: the user did not say so
    owned      whether all files belong to the container's user
    """

    __slots__ = ("owned", "source", "target", "writable")

    def __init__(
        self, source: str, target: str, *, writable: bool | None, owned: bool = False
    ) -> None:
        self.source = source
        self.target = target
        self.writable = writable
        self.owned = owned

    def word(self) -> str:
        """Return the option of ``ch-run`` and of ``ch-image``."""
        # The compiled ch-run serves a bind without a mode.
        modes = [*_ACCESS[self.writable], *[_OWNED] * self.owned]
        return f"--bind={':'.join(filter(None, (self.source, self.target, ','.join(modes))))}"


class Tmpfs:
    """An empty directory in memory: its path in the container, and options of tmpfs(5)."""

    __slots__ = ("options", "target")

    def __init__(self, target: str, options: list[str]) -> None:
        self.target = target
        self.options = options

    def word(self) -> str:
        """Return the option of ``ch-run``."""
        return f"--tmpfs={':'.join(filter(None, (self.target, ','.join(self.options))))}"


def volume(text: str) -> Volume | None:
    """Return the volume of -v ``text``.

    None stands for a volume without a source: a directory that can be written to, as all can.
    Raises UsageError.
    """
    fields = text.split(":")
    if len(fields) == 1:
        _absolute(text, f"-v {text}", _VOLUME_HINT)
        return None
    if len(fields) > 3 or not fields[0]:
        raise UsageError(f"-v {text}: not SRC:DST[:MODE]", _VOLUME_HINT)
    source, target, *modes = fields
    if "/" not in source and source not in (".", ".."):
        raise UsageError(
            f"-v {text}: there are no named volumes",
            f"make a directory, and bind it: -v ./{source}:{target}",
        )
    access: list[bool] = []
    owned = False
    for mode in filter(None, ",".join(modes).split(",")):
        if mode in _WRITABLE:
            access.append(_WRITABLE[mode])
        elif mode == _OWNED:
            owned = True
        elif mode not in _HELD_MODES:
            hint = "ro and rw are possible, and U"
            raise UsageError(f"-v {text}: no such mode here: {mode}", hint)
    return _bind(source, target, f"-v {text}", access, owned=owned)


def build_volume(text: str) -> Volume:
    """Return the volume of -v ``text`` of ``sundog build``.  Raises UsageError."""
    found = volume(text)
    if found is None:
        raise UsageError(f"-v {text}: no directory of the host to show there", _VOLUME_HINT)
    if found.owned:
        raise UsageError(f"-v {text}: RUN has no mode U", "leave it out")
    return found


def mount_value(text: str) -> Volume | Tmpfs | None:
    """Return what --mount ``text`` shows; None as ``volume``.  Raises UsageError."""
    option = f"--mount {text}"
    given: dict[str, str] = {}
    access: list[bool] = []
    options: list[str] = []
    owned = False
    for name, value in _fields(text, option):
        if name in given:
            raise UsageError(f"{option}: {name} is given twice", _MOUNT_HINT)
        given[name] = value or ""
        if name in _WRITABLE:
            access.append(_WRITABLE[name] is _field_is_true(name, value, option))
        elif name == _OWNED:
            owned = _field_is_true(name, value, option)
        elif name in _TMPFS_FIELDS:
            options.append(f"{_TMPFS_FIELDS[name]}={value}")
        elif name in _HELD_FIELDS:
            if not _HELD_FIELDS[name](value or "true"):
                raise UsageError(f"{option}: not possible here: {name}={value}", _MOUNT_HINT)
        elif name not in ("type", "source", "target"):
            raise UsageError(f"{option}: no such field here: {name}", _MOUNT_HINT)
    kind, source, target = (given.get(name, "") for name in ("type", "source", "target"))
    if not target:
        raise UsageError(f"{option}: it needs one dst", _MOUNT_HINT)
    _absolute(target, option, _MOUNT_HINT)
    if options and kind != "tmpfs":
        raise UsageError(f"{option}: only type=tmpfs has a size and a mode", _MOUNT_HINT)
    if owned and kind != "bind":
        raise UsageError(f"{option}: only type=bind has U", _MOUNT_HINT)
    if kind in ("tmpfs", "volume", "") and not source:
        if False in access:
            raise UsageError(f"{option}: an empty directory, and read-only", "leave out ro")
        return _checked(Tmpfs(target, options), option) if kind == "tmpfs" else None
    if kind != "bind":
        raise UsageError(f"{option}: no mount of type {kind or 'volume'} here", _MOUNT_HINT)
    if not source:
        raise UsageError(f"{option}: it needs one src", _MOUNT_HINT)
    return _bind(source, target, option, access, owned=owned)


def tmpfs(text: str) -> Tmpfs:
    """Return the directory of --tmpfs ``text``.  Raises UsageError."""
    target, _, options = text.partition(":")
    kept = [word for word in options.split(",") if word and word not in _HELD_TMPFS]
    return _checked(Tmpfs(target, kept), f"--tmpfs {text}")


def _checked(found: Tmpfs, option: str) -> Tmpfs:
    """Return ``found`` if ``ch-run`` takes it."""
    from sundog.runtime.container.tmpfs_option import parse_tmpfs

    try:
        parse_tmpfs(os.fsencode(found.word().removeprefix("--tmpfs=")))
    except SundogError as error:
        raise UsageError(
            f"{option}: {error.message.removeprefix('--tmpfs: ')}", error.hint
        ) from error
    return found


def _fields(text: str, option: str) -> list[tuple[str, str | None]]:
    """Return the names and values of comma-separated fields; a value may be missing."""
    fields = text.split(",")
    if '"' in text:
        import csv

        try:
            (fields,) = csv.reader([text], strict=True)
        except (csv.Error, ValueError) as error:
            raise UsageError(f"{option}: not a list of NAME=VALUE", _MOUNT_HINT) from error
    found = []
    for field in filter(None, fields):
        name, equals, value = field.partition("=")
        found.append((_SPELLINGS.get(name, name), value if equals else None))
    return found


def _field_is_true(name: str, value: str | None, option: str) -> bool:
    """Return the value of a switch, which is true without one."""
    if value is None:
        return True
    if value not in BOOLEANS:
        raise UsageError(f"{option}: {name} is neither true nor false: {value}", _MOUNT_HINT)
    return BOOLEANS[value]


def _bind(source: str, target: str, option: str, access: list[bool], *, owned: bool) -> Volume:
    """Return the volume; ``access`` has what the user said of its being writable."""
    _absolute(target, option, _VOLUME_HINT)
    if len(access) > 1:
        raise UsageError(f"{option}: ro or rw is given twice", "write one of them")
    if ":" in source:
        raise UsageError(f"{option}: a colon in SRC", "make a symbolic link to it without one")
    path = os.path.abspath(source)
    if not os.path.exists(path):
        raise UsageError(f"{option}: no such file or directory: {path}", "make it first")
    writable = access[0] if access else None
    return Volume(path, os.path.normpath(target), writable=writable, owned=owned)


def _absolute(target: str, option: str, hint: str) -> None:
    if not target.startswith("/"):
        raise UsageError(f"{option}: not an absolute path in the container: {target}", hint)
    if not target.strip("/"):
        raise UsageError(f"{option}: nothing can be mounted over the container's /", hint)
