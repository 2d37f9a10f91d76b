"""The records that a build step knows, of millions of paths in little memory.

An ``OwnersManifest`` takes some 350 bytes for each path.  Here a directory is one string of the
names in it, each with the number of its record; the reader takes apart the directory that it is in.
"""

from __future__ import annotations

from itertools import islice

from sundog.base.record.owners import OwnerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from sundog.base.record.owners import OwnersManifest

    # The attributes of the records, and for each directory ``NAME NUL NUMBER NUL`` of its entries.
    PackedRecords = tuple[tuple[bytes, ...], dict[bytes, bytes]]

_NONE: Mapping[bytes, OwnerRecord] = {}


class KnownRecords:
    """The records of paths as in ``OwnersManifest``; a later record of a path counts."""

    def __init__(self) -> None:
        self._records: list[OwnerRecord] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._directories: dict[bytes, bytearray] = {}
        # Of the directory that was looked at last, and of some above it.
        self._tables: dict[bytes, Mapping[bytes, OwnerRecord]] = {}

    @classmethod
    def of(cls, manifest: OwnersManifest) -> Self:
        """Return the records of ``manifest``."""
        known = cls()
        for path, record in manifest.items():
            known.add(path, record)
        return known

    @classmethod
    def unpack(cls, packed: object) -> Self:
        """Return what ``pack`` made a plain value of; raise ValueError if that is damaged."""
        match packed:
            case (tuple(records), dict(directories)):
                known = cls()
                for number, attributes in enumerate(records):
                    record = OwnerRecord.unpack(attributes)
                    known._records.append(record)
                    known._numbers[record.values()] = number
                known._directories = {path: bytearray(data) for path, data in directories.items()}
                return known
        raise ValueError("not the records of a step")

    def pack(self) -> PackedRecords:
        """Return a plain value, as for ``wire.values``."""
        directories = {path: bytes(data) for path, data in self._directories.items()}
        return tuple(record.pack() for record in self._records), directories

    def add(self, path: bytes, record: OwnerRecord) -> None:
        """Take the record of a path, in place of an earlier one."""
        number = self._numbers.setdefault(record.values(), len(self._records))
        if number == len(self._records):
            self._records.append(record)
        directory, _, name = path.rpartition(b"/")
        packed = self._directories.get(directory)
        if packed is None:
            packed = self._directories[directory] = bytearray()
        packed += b"%s\0%d\0" % (name, number)
        self._tables.pop(directory, None)

    def get(self, path: bytes) -> OwnerRecord | None:
        """Return the record of a path, None if it has none.

        This is fast for one directory after the other, each after those above it.
        """
        directory, _, name = path.rpartition(b"/")
        table = self._tables.get(directory)
        return (self._table(directory) if table is None else table).get(name)

    def _table(self, directory: bytes) -> Mapping[bytes, OwnerRecord]:
        packed = self._directories.get(directory)
        if packed is None:
            return _NONE
        for known in list(self._tables):
            if known and not directory.startswith(known + b"/"):
                del self._tables[known]
        fields = bytes(packed).split(b"\0")
        records = (self._records[int(number)] for number in islice(fields, 1, None, 2))
        table = self._tables[directory] = dict(
            zip(islice(fields, 0, None, 2), records, strict=False)
        )
        return table
