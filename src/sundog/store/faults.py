"""What goes wrong with the file system below the storage directory, in the user's terms."""

from __future__ import annotations

import errno
import os

from sundog.errors import KernelError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

OTHER_STORAGE_HINT = "choose another storage directory: --storage DIR or CH_IMAGE_STORAGE=DIR"

# errno → (what happened on the file system, what to do about it)
_FAULTS = {
    errno.ENOSPC: ("no space left on", "free some space there, or " + OTHER_STORAGE_HINT),
    errno.EDQUOT: ("disk quota exceeded on", "free some space there, or " + OTHER_STORAGE_HINT),
    errno.EROFS: ("nothing can be written: read-only is", OTHER_STORAGE_HINT),
}
# Of a KernelError: unshare(2) and mount(2) mean other things by ENOSPC.
_FILE_CALLS = frozenset({"openat2", "renameat2", "syncfs"})


class StorageFaults:
    """Turn a refusal of the file system, while storage is written, into a StoreError.

    The error names the file system and the storage directory ``path``.  Errors that may have to do
    with another file, one that is read, pass through.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError) or (
            isinstance(error, KernelError) and error.call in _FILE_CALLS
        ):
            fault = _FAULTS.get(error.errno or 0)
            if fault is not None:
                what, hint = fault
                raise StoreError(
                    f"{what} {file_system_of(self._path)}: storage directory {shown(self._path)}",
                    hint,
                ) from error


def shown(path: bytes) -> str:
    """Return ``path`` as text for a message; bytes that are no text appear as escapes."""
    return path.decode("utf-8", "backslashreplace")


def file_system_of(path: bytes) -> str:
    """Name the mounted file system that holds ``path``: ``ext4 at /var (/dev/sda2)``.

    Read from proc_pid_mountinfo(5); without /proc it is ``the file system``.
    """
    wanted = os.path.realpath(path)
    found, length = "the file system", -1
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for line in lines:
        fields, _, described = line.partition(b" - ")
        point = _unescaped(fields.split(b" ")[4])
        below = point if point.endswith(b"/") else point + b"/"
        # Of mounts on one point the last is the one that shows.
        if (wanted + b"/").startswith(below) and len(point) >= length:
            kind, source = described.split(b" ")[:2]
            length = len(point)
            found = f"{shown(kind)} at {shown(point)} ({shown(_unescaped(source))})"
    return found


def _unescaped(field: bytes) -> bytes:
    """Undo the octal escapes of mountinfo."""
    for character in b" \t\n\\":
        field = field.replace(b"\\%03o" % character, bytes([character]))
    return field
