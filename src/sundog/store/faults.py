"""What goes wrong with the file system below the storage directory, in the user's terms."""

from __future__ import annotations

import errno
import os

from sundog.errors import KernelError, StoreError
from sundog.kernel.libc import descriptor_path, printable
from sundog.kernel.refusal import file_system_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

OTHER_STORAGE_HINT = "choose another storage directory: --storage DIR or CH_IMAGE_STORAGE=DIR"

# errno → (what happened on the file system, what to do about it before choosing another storage)
_FAULTS = {
    errno.ENOSPC: ("no space left on", "free some space there, or "),
    errno.EDQUOT: ("disk quota exceeded on", "free some space there, or "),
    errno.EROFS: ("nothing can be written: read-only is", ""),
    errno.EIO: ("input/output error on", "see dmesg(1), the disk may be failing; or "),
}
_ONE_FILE_SYSTEM = (
    "all of it must be on one file system, in one subvolume and project: "
    "take out what is mounted in it or a symlink to elsewhere; or "
)
# Of a KernelError: unshare(2) and mount(2) mean other things by ENOSPC.
_FILE_CALLS = frozenset({"openat2", "renameat2", "syncfs"})


class StorageFaults:
    """Turn a refusal of the file system, while storage is written, into a StoreError.

    The error names the file system and the storage directory ``path``.  Errors that name another
    file pass through.  A store does so with what leaves its context; within, it is for those who
    want to tell a StoreError from others.
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
        if isinstance(error, OSError):
            if _is_elsewhere(error, self._path):
                return
        elif not (isinstance(error, KernelError) and error.call in _FILE_CALLS):
            return
        if error.errno == errno.EXDEV:
            what = error.message if isinstance(error, KernelError) else _renaming(error)
            raise StoreError(
                f"{what}: storage directory {printable(self._path)}",
                _ONE_FILE_SYSTEM + OTHER_STORAGE_HINT,
            ) from error
        if error.errno in _FAULTS:
            raise StoreError(
                f"{reason(error.errno, self._path)}: storage directory {printable(self._path)}",
                _FAULTS[error.errno][1] + OTHER_STORAGE_HINT,
            ) from error


def reason(number: int, path: bytes) -> str:
    """Say in lower case why ``path`` cannot be written; with its file system, if that is to blame.

    ``number`` is the errno.
    """
    if number not in _FAULTS:
        return os.strerror(number).lower()
    return f"{_FAULTS[number][0]} {file_system_of(path)}"


def names_in(error: OSError) -> list[bytes]:
    """Return what an OSError names: nothing, a file, or two; the last is what was to be made."""
    names = (name for name in (error.filename, error.filename2) if name is not None)
    return [descriptor_path(name) if isinstance(name, int) else os.fsencode(name) for name in names]


def _is_elsewhere(error: OSError, storage: bytes) -> bool:
    """Tell whether ``error`` is about a file that is outside; relative names are of a tree."""
    path = b"".join(names_in(error)[-1:])
    return os.path.isabs(path) and not (path + b"/").startswith(storage.rstrip(b"/") + b"/")


def _renaming(error: OSError) -> str:
    names = " to ".join(map(printable, names_in(error))) or "a file"
    return f"can't rename or link {names}: {error.strerror}"
