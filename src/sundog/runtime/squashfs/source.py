"""The bytes of a SquashFS file, and the error that says where the file is damaged."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import descriptor_path, kernel_error, printable
from sundog.errors import SquashfsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Pread = Callable[[int, int, int], bytes]

_DAMAGED_HINT = "compare it with the original, then copy it or make it again"


class SquashfsSource:
    """The file ``fd``, in which the SquashFS file begins at ``offset`` and has ``end`` bytes.

    Positions count from ``offset``.  ``pread`` does what ``os.pread`` does.
    """

    __slots__ = ("_pread", "end", "fd", "offset")

    def __init__(self, fd: int, offset: int, pread: Pread = os.pread) -> None:
        self._pread = pread
        self.fd = fd
        self.offset = offset
        try:
            self.end = max(os.fstat(fd).st_size - offset, 0)
        except OSError as error:
            raise kernel_error("fstat", fd, error.errno or 0) from None

    def read(self, position: int, size: int) -> bytes:
        """Return the ``size`` bytes at ``position``.

        Raises SquashfsError if the file does not have all of them, and KernelError.
        """
        if position + size > self.end:
            raise self.damaged(f"{size:,} bytes are wanted, but the file ends before", position)
        try:
            data = self._pread(self.fd, size, self.offset + position)
            while len(data) < size:
                more = self._pread(self.fd, size - len(data), self.offset + position + len(data))
                if not more:
                    raise self.damaged("the file has become shorter", position + len(data))
                data += more
        except OSError as error:
            raise kernel_error("pread", self.fd, error.errno or 0) from None
        return data

    def name(self) -> str:
        """Return the present name of the file, for a message."""
        return printable(descriptor_path(self.fd))

    def damaged(self, what: str, position: int) -> SquashfsError:
        """Return the error that says ``what`` is wrong at ``position``."""
        return SquashfsError(
            f"damaged SquashFS file: {self.name()}: {what} (at byte {self.offset + position:,})",
            _DAMAGED_HINT,
        )
