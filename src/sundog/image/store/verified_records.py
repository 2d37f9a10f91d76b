"""Records of ``--verify`` about the layers of shared stores: old ones go.

Device numbers of network file systems change with each mount, so a record may never fit again.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sundog.runtime.container.verified_layers import VERIFIED, file_stamp, verified_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 4096  # records that stay; each is a few calls of the file system of its store
_DRAFT_LIFE = 24 * 60 * 60  # seconds


def forget_verified(storage: bytes, say: Callable[[str], None]) -> None:
    """Remove the records in ``storage`` of files that are gone or have changed.

    Of too many, the oldest go.  ``say`` gets a line if there are such.
    """
    directory = os.path.join(storage, VERIFIED)
    try:
        found = sorted(os.scandir(directory), key=_time, reverse=True)
    except FileNotFoundError:
        return
    count = 0
    for number, entry in enumerate(found):
        if entry.name.startswith(b"."):
            is_old = time.time() - _time(entry) > _DRAFT_LIFE
        else:
            is_old = number >= _MOST or not _fits(entry.path)
        if is_old:
            with suppress(OSError):
                os.unlink(entry.path)
                count += 1
    if count:
        say(f"removed {count} old records of --verify")


def _time(entry: os.DirEntry[bytes]) -> float:
    """Return when a record was written, 0 if it is gone."""
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0


def _fits(record: bytes) -> bool:
    """Tell whether all files of a record are as they were when they were read."""
    try:
        place, known = verified_record(record)
        return bool(known) and all(
            file_stamp(os.stat(os.path.join(place, name), follow_symlinks=False)) == was
            for name, (was, _) in known.items()
        )
    except (OSError, ValueError):  # a NUL in a damaged record
        return False
