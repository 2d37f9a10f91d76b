"""The processes that use a storage directory: this user's, on this node.

A process uses it if it has a file of it open, works in it, or has it mounted.  A container's mounts
name the IDs of its layers: see ``mounted``.
"""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LINKS = ("cwd", "root", "exe")
_ID_DIRECTORIES = (b"layers", b"trees", b"containers")


def occupants(storage: bytes) -> list[str]:
    """Return the names and numbers of other processes that use ``storage``, a path without links.

    A process that hides its files is one of them if its mounts show that.
    """
    names = {storage + b"/"}
    for directory in _ID_DIRECTORIES:
        with suppress(FileNotFoundError):
            names.update(os.listdir(os.path.join(storage, directory)))
    found = []
    for process in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
        if int(process) != os.getpid() and _uses(process, storage, names):
            with suppress(OSError), open(f"/proc/{process}/comm", "rb") as file:
                found.append(f"{os.fsdecode(file.read().strip())} (process {process})")
    return found


def _uses(process: str, storage: bytes, names: Collection[bytes]) -> bool:
    if any(path == storage or path.startswith(storage + b"/") for path in _paths(process)):
        return True
    with suppress(OSError), open(f"/proc/{process}/mountinfo", "rb") as file:
        mounts = file.read()
        return any(name in mounts for name in names)
    return False


def _paths(process: str) -> Iterator[bytes]:
    """Yield the paths of what a process has open; none of a process that hides them."""
    with suppress(OSError):
        links = [*_LINKS, *(f"fd/{name}" for name in os.listdir(f"/proc/{process}/fd"))]
        for link in links:
            with suppress(OSError):
                yield os.readlink(os.fsencode(f"/proc/{process}/{link}"))
