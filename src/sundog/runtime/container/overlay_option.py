"""--overlay DIR[:ro]: a directory on top of the image."""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.runtime.container.paths import absolute

_ACCESS = {b":ro": False, b":rw": True}


def parse_overlay(value: bytes) -> tuple[bytes, bool]:
    """Return the directory of --overlay DIR[:ro], and whether commands write to it.

    Raises UsageError.
    """
    path, is_writable = value, True
    if value[-3:] in _ACCESS:
        path, is_writable = value[:-3], _ACCESS[value[-3:]]
    if not path:
        raise UsageError("--overlay: DIR must have non-zero length", "write --overlay DIR[:ro]")
    return absolute(path), is_writable
