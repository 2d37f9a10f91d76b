"""The argument of --bind of ``ch-run`` and of ``ch-image``: SRC[:DST[:ro|rw]].

Values are bytes.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.container.paths import absolute

_BIND_HINT = "write --bind=SRC, SRC:DST or SRC:DST:ro"
_OWNED_MODE = b"U"
_BIND_MODES = {b"ro": False, b"rw": True}  # the last field → whether the bind is writable


def split_owned(value: bytes) -> tuple[bytes, bool]:
    """Return ``value`` without the mode U, and whether it has that mode.

    U stands alone, or beside ``ro`` or ``rw``, with a comma between them.
    """
    place, colon, field = value.rpartition(b":")
    modes = field.split(b",")
    if not colon or _OWNED_MODE not in modes or not {_OWNED_MODE, *_BIND_MODES} >= set(modes):
        return value, False
    rest = b",".join(mode for mode in modes if mode != _OWNED_MODE)
    return place + colon + rest if rest else place, True


def parse_bind(value: bytes) -> tuple[bytes, bytes, bool | None]:
    """Return the source, the destination, and whether COMMAND may write there; None: not written.

    The first colon ends SRC, as in Charliecloud.  Only ``:ro`` and ``:rw`` at the end are no part
    of DST, which may have colons of its own.  Raises SundogError.
    """
    source, colon, destination = value.partition(b":")
    if not source:
        raise SundogError("--bind: no source provided", _BIND_HINT)
    place, has_mode, mode = destination.rpartition(b":")
    is_writable = None
    if has_mode and mode in _BIND_MODES:
        destination, is_writable = place, _BIND_MODES[mode]
    elif has_mode and not mode:
        raise SundogError(
            "--bind: nothing after the last colon", "write SRC:DST, SRC:DST:ro or SRC:DST:rw"
        )
    if not colon:
        destination = source
    if not destination:
        raise SundogError("--bind: no destination provided", _BIND_HINT)
    if not destination.startswith(b"/"):
        shown = printable(source)
        example = f"{shown}:{shown}:{printable(destination)}"
        is_mode = destination in _BIND_MODES
        raise SundogError(
            "--bind: destination must be absolute",
            f"write --bind={example}" if is_mode else f"write --bind={shown}:/PATH",
        )
    if not destination.replace(b".", b"/").strip(b"/"):
        raise SundogError("--bind: destination can't be /")
    return absolute(source), destination, is_writable
