"""The argument of --tmpfs of ``ch-run`` and ``sundog run``: DIR[:OPTION[,OPTION...]].

Specification: tmpfs(5) for size and mode; podman-run(1) for the form.

Values are bytes.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.container.operations import CREATED, TmpfsMount

# Options that hold in any case.
_HELD_TMPFS_OPTIONS = (b"dev", b"exec", b"nodev", b"nosuid", b"rw", b"suid")
_TMPFS_HINT = "write --tmpfs=/DIR, or --tmpfs=/DIR:size=64m,mode=1777,noexec"


def parse_tmpfs(value: bytes, need: str = CREATED) -> TmpfsMount:
    """Return the mount of --tmpfs.  Raises SundogError."""
    destination, _, text = value.partition(b":")
    if not destination.startswith(b"/"):
        raise SundogError("--tmpfs: DIR must be absolute", _TMPFS_HINT)
    if not destination.replace(b".", b"/").strip(b"/"):
        raise SundogError("--tmpfs: DIR can't be /", _TMPFS_HINT)
    taken: list[bytes] = []
    executable = True
    for option in text.split(b",") if text else ():
        name, _, number = option.partition(b"=")
        if option == b"noexec":
            executable = False
        elif (name == b"size" and _is_size(number)) or (name == b"mode" and _is_mode(number)):
            taken.append(option)
        elif option not in _HELD_TMPFS_OPTIONS:
            raise SundogError(f"--tmpfs: not possible: {printable(option)}", _TMPFS_HINT)
    return TmpfsMount(destination, need, options=b",".join(taken), executable=executable)


def configured_mount(value: bytes, place: str, need: str = CREATED) -> TmpfsMount:
    """Return the mount of a value of the configuration; an error names the ``place``."""
    try:
        return parse_tmpfs(value, need)
    except SundogError as error:
        message = error.message.removeprefix("--tmpfs: ")
        hint = "write DIR, or DIR:size=64m,mode=1777,noexec"
        raise SundogError(f"{place}: {message}", hint) from None


def _is_size(text: bytes) -> bool:
    """Tell whether ``text`` is a size: bytes, with a unit, or a share of memory."""
    digits = text[:-1] if text[-1:].lower() in (b"k", b"m", b"g", b"%") else text
    return digits.isdigit() and len(digits) < 16


def _is_mode(text: bytes) -> bool:
    """Tell whether ``text`` is an octal mode."""
    return 0 < len(text) < 6 and not text.strip(b"01234567")
