"""-v, --mount and --tmpfs of ``sundog run``, as binds of ``ch-run``.

Specification: podman-run(1), --volume, --mount and --tmpfs.
"""

from __future__ import annotations

import os

from sundog.errors import UsageError

# Modes of -v that change nothing here: labels of SELinux, propagation, and what always holds.
_HELD_MODES = frozenset(
    {"z", "Z", "rbind", "bind", "private", "rprivate", "slave", "rslave", "shared", "rshared"}
    | {"nodev", "dev", "nosuid", "suid", "exec"}
    | {"cached", "delegated", "consistent", "copy", "nocopy"}
)  # fmt: skip
_WRITABLE = {"ro": False, "readonly": False, "rw": True}
_VOLUME_HINT = "write -v SRC:DST[:ro], SRC with a slash in it"
_MOUNT_HINT = "write --mount type=bind,src=SRC,dst=DST[,ro]"

_SOURCES, _TARGETS = ("source", "src"), ("target", "dst", "destination")


def volume(text: str) -> str | None:
    """Return -v ``text`` as SRC:DST[:ro] for ``ch-run --bind``.

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
    is_writable = True
    for mode in filter(None, ",".join(modes).split(",")):
        if mode in _WRITABLE:
            is_writable = _WRITABLE[mode]
        elif mode not in _HELD_MODES:
            raise UsageError(f"-v {text}: no such mode here: {mode}", "ro and rw are possible")
    return _bind(source, target, f"-v {text}", is_writable=is_writable)


def mount(text: str) -> str | None:
    """Return --mount ``text`` as SRC:DST[:ro] for ``ch-run --bind``; None as ``volume``.

    Raises UsageError.
    """
    option = f"--mount {text}"
    fields = dict(_field(field) for field in text.split(",") if field)
    kind = fields.pop("type", "volume")
    sources = [fields.pop(name) for name in _SOURCES if name in fields]
    targets = [fields.pop(name) for name in _TARGETS if name in fields]
    if len(targets) != 1:
        raise UsageError(f"{option}: it needs one dst", _MOUNT_HINT)
    _absolute(targets[0], option, _MOUNT_HINT)
    is_writable = True
    for name, value in fields.items():
        if name in _WRITABLE:
            is_writable = _WRITABLE[name] == (value in ("", "true", "1"))
    if kind == "tmpfs" or (kind == "volume" and not sources):
        return None
    if kind != "bind":
        raise UsageError(f"{option}: no mount of type {kind} here", _MOUNT_HINT)
    if len(sources) != 1 or not sources[0]:
        raise UsageError(f"{option}: it needs one src", _MOUNT_HINT)
    return _bind(sources[0], targets[0], option, is_writable=is_writable)


def tmpfs(text: str) -> str:
    """Return the directory of --tmpfs ``text``.  Raises UsageError."""
    place = text.partition(":")[0]
    _absolute(place, f"--tmpfs {text}", "write --tmpfs /DIR")
    return place


def _field(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _bind(source: str, target: str, option: str, *, is_writable: bool) -> str:
    _absolute(target, option, _VOLUME_HINT)
    if ":" in source:
        raise UsageError(f"{option}: a colon in SRC", "make a symbolic link to it without one")
    path = os.path.abspath(source)
    if not os.path.exists(path):
        raise UsageError(f"{option}: no such file or directory: {path}", "make it first")
    # The compiled ch-run serves a bind without a mode.
    return f"{path}:{os.path.normpath(target)}{'' if is_writable else ':ro'}"


def _absolute(target: str, option: str, hint: str) -> None:
    if not target.startswith("/"):
        raise UsageError(f"{option}: not an absolute path in the container: {target}", hint)
    if not target.strip("/"):
        raise UsageError(f"{option}: nothing can be mounted over the container's /", hint)
