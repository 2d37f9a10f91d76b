"""--bind, --mount and --scratch: files of the host, and empty directories, for a container."""

from __future__ import annotations

from sundog.base.pathnames import joined, normalized
from sundog.base.spelling import BOOLEANS
from sundog.errors import UsageError
from sundog.front.pflag_values import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BIND_HINT = "write --bind SRC[:DST[:ro]]"
_MOUNT_HINT = "write --mount type=bind,source=SRC,destination=DST[,ro]"
_ACCESS = {"ro": False, "rw": True}
_KEYS = {
    **dict.fromkeys(("source", "src"), "source"),
    **dict.fromkeys(("destination", "dst", "target"), "target"),
    **dict.fromkeys(("ro", "readonly"), "ro"),
    "type": "type",
}
_IMAGES = ("image-src", "id")  # files of an image


class Bind:
    """A file or directory of the host, and its path in the container.

    Both are absolute.  ``writable`` is None if the user did not say it.  Raises UsageError for a
    source with a colon: ``ch-run`` would take another path for it.
    """

    __slots__ = ("source", "target", "writable")

    def __init__(self, source: str, target: str, *, writable: bool | None = None) -> None:
        if ":" in source:
            raise UsageError(
                f"a colon in a path of the host: {source}",
                "make a symbolic link to it without one, or do not show it: --no-mount cwd",
            )
        self.source = source
        self.target = target
        self.writable = writable

    def word(self) -> str:
        """Return the option of ``ch-run``."""
        mode = {None: "", False: ":ro", True: ":rw"}[self.writable]
        if not mode and self.target.endswith((":ro", ":rw", ":")):
            mode = ":rw"
        return f"--bind={self.source}:{self.target}{mode}"

    def told(self) -> str:
        """Return the bind as $APPTAINER_BIND has it."""
        return f"{self.source}:{self.target}{':ro' if self.writable is False else ''}"


class Tmpfs:
    """An empty directory in memory, and its mode."""

    __slots__ = ("mode", "target")

    def __init__(self, target: str, mode: str = "1777") -> None:
        """Raise UsageError for a target that ``ch-run`` would take for another one."""
        if ":" in target:
            raise UsageError(f"a colon in the path of an empty directory: {target}", "leave it out")
        self.target = target
        self.mode = mode

    def word(self) -> str:
        """Return the option of ``ch-run``."""
        return f"--tmpfs={self.target}:mode={self.mode}"


def binds_of(words: Iterable[str], directory: str) -> list[Bind]:
    r"""Return the binds of the fields of --bind.  A field that is a mode belongs to the one before.

    A backslash takes the meaning from ``:`` and ``,``.  ``directory`` is that of relative sources.
    Raises UsageError.
    """
    found: list[list[str]] = []
    for word in words:
        if word in _ACCESS and found and len(found[-1]) == 3:
            found[-1][2] = word
            continue
        if word.partition("=")[0] in _IMAGES and "=" in word:
            raise _no_image_source("--bind", word)
        fields = _split(word)
        if len(fields) > 3 or not fields[0]:
            raise UsageError(f"--bind {word}: not SRC[:DST[:MODE]]", _BIND_HINT)
        found.append(fields)
    return [_bind(fields, directory) for fields in found]


def _split(word: str) -> list[str]:
    """Return the fields of a bind, without the backslashes."""
    fields, rest = [""], iter(word)
    for character in rest:
        if character == "\\":
            following = next(rest, "")
            fields[-1] += following if following in (":", ",") else character + following
        elif character == ":":
            fields.append("")
        else:
            fields[-1] += character
    return fields


def _bind(fields: list[str], directory: str) -> Bind:
    source, target, mode, *_ = (*fields, "", "")
    if mode.partition("=")[0] in _IMAGES:
        raise _no_image_source("--bind", mode)
    if mode and mode not in _ACCESS:
        raise UsageError(f"--bind: no such mode: {mode}", _BIND_HINT)
    return _checked(source, target or source, directory, _ACCESS.get(mode), "--bind")


def mount_of(text: str, directory: str) -> Bind:
    """Return the bind of --mount ``text``.  Raises UsageError."""

    def complain(fault: str) -> UsageError:
        return UsageError(f"--mount {text}: {fault}", _MOUNT_HINT)

    values: dict[str, str] = {}
    for field in fields_of(text, complain):
        name, equals, value = field.partition("=")
        if name in _IMAGES:
            raise _no_image_source("--mount", field)
        if name not in _KEYS:
            raise complain(f"no such key: {name}")
        if _KEYS[name] == "ro":
            value = value if equals else "true"
            if value not in BOOLEANS:
                raise complain(f"{name} is neither true nor false: {value}")
        values[_KEYS[name]] = value
    if values.get("type") != "bind":
        raise complain("only type=bind is possible")
    if not values.get("source") or not values.get("target"):
        raise complain("it needs a source and a destination")
    writable = not BOOLEANS[values["ro"]] if "ro" in values else None
    return _checked(values["source"], values["target"], directory, writable, "--mount")


def _checked(source: str, target: str, directory: str, writable: bool | None, option: str) -> Bind:
    source = normalized(joined(directory, source))
    if target != source and not target.startswith("/"):
        target = joined(directory, target)
    target = normalized(target)
    if target.strip("/") == "":
        raise UsageError(
            f"{option}: nothing can be mounted over the container's /", "give another DST"
        )
    if "\0" in source + target:
        raise UsageError(f"{option}: a NUL in a path", _BIND_HINT)
    return Bind(source, target, writable=writable)


def _no_image_source(option: str, word: str) -> UsageError:
    return UsageError(
        f"{option}: files of another image cannot be bound: {word}",
        "ch-run -m DIR FILE shows an image that is one file at DIR, for --bind",
    )
