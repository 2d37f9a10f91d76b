"""Files that appear as a whole: written under another name, then renamed.

A reader finds the old file or the new one, also after a power cut.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import sync_name, sync_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def replace_file(path: bytes, data: bytes, *, mode: int = 0o600, draft: bytes = b"") -> None:
    """Write ``data`` to the file ``path``, in place of a file that is there.  Atomic.

    ``mode`` is exact: the umask does not count.  ``draft`` is the name meanwhile, by default a
    random one in the same directory.  Raises OSError; then the draft is removed.  When this
    returns, the file is on the device under its name.
    """
    draft = draft or os.path.join(os.path.dirname(path), b".sundog-" + os.urandom(8).hex().encode())
    with Replacing(path, draft):
        write_new_file(draft, data, mode)


class Replacing:
    """A context that writes the file ``draft``, which then gets the name ``path``.

    Both are in the same directory.  Raises and ends as ``replace_file``.
    """

    def __init__(self, path: bytes, draft: bytes) -> None:
        self._path = path
        self._draft = draft

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._remove()
            return
        try:
            sync_path(self._draft)
            os.rename(self._draft, self._path)
        except BaseException:
            self._remove()
            raise
        sync_name(self._path)

    def _remove(self) -> None:
        try:  # noqa: SIM105 - contextlib takes a tenth of a start from a shared store
            os.unlink(self._draft)
        except OSError:
            pass


def write_new_file(path: bytes, data: bytes, mode: int = 0o600) -> None:
    """Write a file that is not there yet, with exactly this mode.  Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
