"""The bytes of a blob, which is the file of a layer: those of a complete one are in the file."""

from __future__ import annotations

from sundog.runtime.fuse.waiting import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Blob(Protocol):
        """The bytes of a blob.  Threads may share it."""

        def read(self, offset: int, size: int) -> bytes:
            """Return ``size`` bytes from ``offset`` on.  May wait: ``waiting``.  Raises OSError."""

        def lacks(self, offset: int, size: int) -> bool:
            """Tell whether bytes of the blob are not here.  Raises OSError."""

        def has_some(self, offset: int, size: int) -> bool:
            """Tell whether a byte is here, of those of the blob.  Raises OSError."""

        def expect(self, offset: int, size: int) -> None:
            """Let those of the blob's bytes come that are about to be read, in some parts."""

        def discard(self, offset: int, wrong: bytes) -> bool:
            """Forget ``wrong`` bytes at ``offset``; return whether ``read`` may return others.

            That ends if it goes on for ever.
            """


class WholeBlob:
    """A blob that is all in one place."""

    __slots__ = ()

    def lacks(self, _offset: int, _size: int) -> bool:
        """See ``Blob``: all is here."""
        return False

    def has_some(self, _offset: int, _size: int) -> bool:
        """See ``Blob``."""
        return True

    def expect(self, _offset: int, _size: int) -> None:
        """Do nothing: all is here."""


class FileBlob(WholeBlob):
    """A blob in the open file ``fd``."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, offset: int, size: int) -> bytes:
        """See ``Blob``."""
        return read_at(self._fd, size, offset)

    def discard(self, _offset: int, _wrong: bytes) -> bool:
        """See ``Blob``."""
        return False
