"""``RUN --mount``: the text of the flag to a value.

Specification: the Dockerfile reference, “RUN --mount”, for the keys of each type of mount; BuildKit
for the keys' other spellings and for the form of numbers.  Pure; ``builder/`` makes the mounts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sundog.base.spelling import BOOLEANS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BIND, CACHE, TMPFS, SECRET, SSH = TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARED = "shared"
SHARINGS = (SHARED, "private", "locked")

_SPELLINGS = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_OWNED = (CACHE, SECRET, SSH)
# The keys of each type of mount.
_KEYS: dict[str, tuple[str, ...]] = {
    "type": TYPES,
    "target": TYPES,
    "readonly": TYPES,
    "readwrite": TYPES,
    "source": (BIND, CACHE, SECRET),
    "from": (BIND, CACHE),
    "id": (CACHE, SECRET, SSH),
    "sharing": (CACHE,),
    "mode": _OWNED,
    "uid": _OWNED,
    "gid": _OWNED,
    "required": (SECRET, SSH),
    "env": (SECRET,),
    "size": (TMPFS,),
}
_ACCESS = {"readonly": False, "readwrite": True}  # the switch → the mount is writable if it is true
_SWITCHES = (*_ACCESS, "required")
_ID_LIMIT = 2**32 - 1
_DIGITS_LIMIT = 100  # of a number, with leading zeros
_SIZE_LIMIT = 2**63
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_SIZE_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class MountSyntaxError(Exception):
    """A fault in the text of a ``--mount``."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Mount:
    """A ``--mount``.  Texts are "" and numbers are None if they are not given.

    ``size`` is in bytes.  ``writable`` has the type's default if it is not given.  ``secret`` and
    ``ssh`` mounts may lack a target.  Without an ``id``, a secret's ``id`` is its source or the
    last part of its target.
    """

    type: str
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    writable: bool = False
    required: bool = False
    sharing: str = SHARED
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str = ""
    size: int | None = None


def parse_mount(text: str, expand: Callable[[str], str] | None = None) -> Mount | None:
    """Parse the value of a ``--mount``; raise MountSyntaxError.

    ``expand`` substitutes variables in each value but that of ``from``.  Without ``expand``, the
    result is None for a text with variables where they matter, and only what is certain is checked.
    """
    given: dict[str, str] = {}
    is_certain = True
    for key, value in _pairs(text):
        if key == "from":
            if "$" in value.rstrip("$"):
                raise MountSyntaxError(
                    f"--mount: from={value}: no variables are substituted here",
                    "name a stage with FROM $VARIABLE AS NAME, and write from=NAME",
                )
        elif "$" in value:
            if expand is None:
                is_certain = False
                continue
            value = expand(value)  # noqa: PLW2901 - the same value, substituted
        given.pop(key, None)
        given[key] = value  # at the end: of readonly and readwrite, the last one counts
    if not is_certain:
        return None
    return _Reader(given).mount()


def source_of_mount(text: str) -> str:
    """Return the value of ``from`` in a ``--mount``, "" for none; raise MountSyntaxError."""
    return dict(_pairs(text)).get("from", "")


def _pairs(text: str) -> list[tuple[str, str]]:
    """Split the comma-separated fields; a switch without a value is true."""
    pairs = []
    for item in _comma_separated(text):
        name, equals, value = item.partition("=")
        key = _SPELLINGS.get(name.lower(), name.lower())
        if key not in _KEYS:
            raise MountSyntaxError(f"--mount: no such key: {name}", f"known: {', '.join(_KEYS)}")
        if not equals and key not in _SWITCHES:
            raise MountSyntaxError(f"--mount: {name} needs a value", f"write {name}=VALUE")
        pairs.append((key, value if equals else "true"))
    return pairs


def _comma_separated(text: str) -> list[str]:
    """Split ``text`` as a line of comma-separated values, where a field may be quoted."""
    if '"' not in text:
        return text.split(",")
    import csv  # noqa: PLC0415 - seldom needed

    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise MountSyntaxError(f"--mount: not a list of KEY=VALUE: {text}") from error
    return fields


@dataclass
class _Reader:
    """The values of one mount by key, after substitution."""

    given: dict[str, str]
    type: str = field(init=False)

    def __post_init__(self) -> None:
        self.type = self.given.get("type", BIND).lower()
        if self.type not in TYPES:
            raise MountSyntaxError(
                f"--mount: no such type: {self.given['type']}", f"one of: {', '.join(TYPES)}"
            )
        for key in self.given:
            if self.type not in _KEYS[key]:
                known = [name for name, types in _KEYS.items() if self.type in types]
                raise MountSyntaxError(
                    f"--mount: type={self.type} has no {key}", f"it has: {', '.join(known)}"
                )

    def mount(self) -> Mount:
        target = self.given.get("target", "")
        name, source = self.given.get("id", ""), self.given.get("source", "")
        if self.type == SECRET:
            if source and name:
                raise MountSyntaxError("--mount: a secret takes id or source, not both")
            name, source = name or source or target.rstrip("/").rpartition("/")[2], ""
            if not name:
                raise MountSyntaxError(
                    "--mount: type=secret needs an id", "write id=NAME, and build with --secret"
                )
        elif not target and self.type != SSH:
            raise MountSyntaxError(f"--mount: type={self.type} needs a target", "write target=PATH")
        return Mount(
            self.type,
            target,
            source,
            self.given.get("from", ""),
            name,
            writable=self._writable(),
            required=self._switch("required") is True,
            sharing=self._sharing(),
            mode=self._number("mode", 8, 0o7777),
            uid=self._number("uid", 10, _ID_LIMIT),
            gid=self._number("gid", 10, _ID_LIMIT),
            env=self.given.get("env", ""),
            size=self._size(),
        )

    def _writable(self) -> bool:
        is_writable = self.type in (CACHE, TMPFS)
        for key in self.given:
            if key in _ACCESS:
                is_writable = self._switch(key) is _ACCESS[key]
        return is_writable

    def _switch(self, key: str) -> bool | None:
        if key not in self.given:
            return None
        value = BOOLEANS.get(self.given[key])
        if value is None:
            raise MountSyntaxError(f"--mount: {key} is true or false, not {self.given[key]!r}")
        return value

    def _sharing(self) -> str:
        sharing = self.given.get("sharing", SHARED).lower()
        if sharing not in SHARINGS:
            raise MountSyntaxError(
                f"--mount: no such sharing: {sharing}", f"one of: {', '.join(SHARINGS)}"
            )
        return sharing

    def _number(self, key: str, base: int, most: int) -> int | None:
        text = self.given.get(key)
        if text is None:
            return None
        digits = "01234567" if base == 8 else "0123456789"
        if not text or text.strip(digits) or len(text) > _DIGITS_LIMIT or int(text, base) > most:
            kind = "an octal mode" if key == "mode" else "a number"
            raise MountSyntaxError(f"--mount: {key}={text}: not {kind}")
        return int(text, base)

    def _size(self) -> int | None:
        text = self.given.get("size")
        if text is None:
            return None
        match = _SIZE.fullmatch(text)
        if match is None:
            raise MountSyntaxError(f"--mount: size={text}: not a size", "as in size=64m")
        size = float(match[1]) * 1024 ** _SIZE_UNITS[match[2].lower()]
        if size >= _SIZE_LIMIT:
            raise MountSyntaxError(f"--mount: size={text}: too large", "as in size=64m")
        return int(size)
