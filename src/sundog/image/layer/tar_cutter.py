"""A tar that is cut into headers and data while it is written.

It takes what ``tar_writer`` writes: ustar, pax headers in front of a member, sparse files of pax.
"""

from __future__ import annotations

from sundog.errors import ArchiveError
from sundog.image.layer.header import BLOCK, WITHOUT_DATA, Member, parse_header
from sundog.image.layer.pax import parse_records
from sundog.image.layer.tar import apply_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class CutTar(Protocol):
        """A receiver of the parts of an archive, in order; together they are its bytes."""

        def raw(self, data: bytes) -> None:
            """Take headers and padding."""

        def member(self, member: Member, records: Mapping[bytes, bytes]) -> None:
            """Take note of a member, whose header went before; ``records`` are of pax."""

        def data(self, data: bytes | memoryview) -> None:
            """Take the next bytes of the member's data."""

        def end_of_data(self) -> None:
            """Take note that the member's data, of which there are some, are complete."""


_ZEROS = bytes(BLOCK)
_PAX = b"x"


class TarCutter:
    """Hands the parts of an archive to ``target``."""

    def __init__(self, target: CutTar) -> None:
        self._target = target
        self._held = b""  # less than the current part needs
        self._wanted = BLOCK
        self._take: Callable[[bytes], None] = self._header
        self._left = 0  # bytes of the member's data
        self._records: dict[bytes, bytes] = {}

    def write(self, data: bytes) -> None:
        """Take the next bytes of the archive.  Raises ArchiveError."""
        view = memoryview(data)
        while view:
            if self._left:
                part = view[: self._left]
                self._left -= len(part)
                self._target.data(part)
                if not self._left:
                    self._target.end_of_data()
            else:
                part = view[: self._wanted - len(self._held)]
                self._held += part
                if len(self._held) == self._wanted:
                    taken, self._held = self._held, b""
                    self._take(taken)
            view = view[len(part) :]

    def finish(self) -> None:
        """Tell that the archive has ended.  Raises ArchiveError."""
        if self._held or self._left:
            raise ArchiveError("the archive ends early")

    def _next(self, take: Callable[[bytes], None], wanted: int) -> None:
        self._take, self._wanted = take, wanted

    def _header(self, block: bytes) -> None:
        self._target.raw(block)
        if block == _ZEROS:
            return
        member = parse_header(block)
        padding = -member.size % BLOCK
        if member.typeflag == _PAX:
            self._next(self._pax(member.size), member.size + padding)
            return
        apply_records(self._records, member)
        records, self._records = self._records, {}
        size = 0 if member.typeflag in WITHOUT_DATA else member.size
        self._target.member(member, records)
        self._left = size
        if size % BLOCK:
            self._next(self._padding, -size % BLOCK)

    def _pax(self, size: int) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            self._target.raw(data)
            self._records = dict(parse_records(data[:size]))
            self._next(self._header, BLOCK)

        return take

    def _padding(self, data: bytes) -> None:
        self._target.raw(data)
        self._next(self._header, BLOCK)
