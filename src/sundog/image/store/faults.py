"""Errors of the file system below the storage directory, in the user's terms."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from sundog.base.kernel.advice import names_in
from sundog.base.kernel.libc import printable
from sundog.base.kernel.refusal import reason
from sundog.base.record.location import OTHER_STORAGE_HINT
from sundog.errors import KernelError, UnfitStorage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


# errno → the hint that comes before another storage directory
_HINTS = {
    errno.ENOSPC: "free some space there ({}), or ",
    errno.EDQUOT: "free some space there ({}), or ",
    errno.EROFS: "",
    errno.EIO: "see dmesg(1), the disk may be failing; or ",
}
_ONE_FILE_SYSTEM = (
    "all of it must be on one file system, in one subvolume and project: "
    "take out what is mounted in it or a symlink to elsewhere; or "
)
_INFO, _INFO_LIMIT = b"layer.json", 1 << 20
_LOOKS_LIMIT = 2000  # layers whose size is looked up for a hint
# The calls of a KernelError: ENOSPC of unshare(2) or mount(2) means something else.
_FILE_CALLS = frozenset({"openat2", "renameat2", "syncfs"})


class StorageFaults:
    """A context that turns errors of the file system, while storage is written, into UnfitStorage.

    The error names the file system and the storage directory ``path``.  Errors that name a
    file elsewhere pass through.  Every error that leaves a store's context passes through this one;
    inside, use it where code has to distinguish it from others.
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
            raise UnfitStorage(
                f"{what}: storage directory {printable(self._path)}",
                _ONE_FILE_SYSTEM + OTHER_STORAGE_HINT,
            ) from error
        if error.errno in _HINTS:
            raise UnfitStorage(
                f"{reason(error.errno, self._path)}: storage directory {printable(self._path)}",
                _HINTS[error.errno].format(_usage(self._path)) + OTHER_STORAGE_HINT,
            ) from error


def _usage(storage: bytes) -> str:
    """Return how much the layers have, as far as it is known, and what frees some of it."""
    from sundog.image.store.layer_info import size_in  # not before there is an error

    sizes = []
    with suppress(OSError):
        for layer in os.listdir(os.path.join(storage, b"layers"))[:_LOOKS_LIMIT]:
            with (
                suppress(OSError),
                open(os.path.join(storage, b"layers", layer, _INFO), "rb") as file,
            ):
                sizes.append(size_in(file.read(_INFO_LIMIT)) or 0)
    known = f"layers have at least {sum(sizes) / (1 << 30):.1f} GiB; " if any(sizes) else ""
    return f"{known}ch-image usage, ch-image gc"


def _is_elsewhere(error: OSError, storage: bytes) -> bool:
    """Tell whether ``error`` is about a file elsewhere.  Relative names are of the store."""
    path = b"".join(names_in(error)[-1:])
    return os.path.isabs(path) and not (path + b"/").startswith(storage.rstrip(b"/") + b"/")


def _renaming(error: OSError) -> str:
    names = " to ".join(map(printable, names_in(error))) or "a file"
    return f"can't rename or link {names}: {error.strerror}"
