"""Read the header and the descriptors of a SIF.

Whoever made the file is a stranger.  No object leaves the file, and no two share bytes: so what is
shown or copied of an object is that object's.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from sundog.base.record.sif import (
    DESCRIPTOR,
    GROUP_MARK,
    HEADER,
    PARTITION,
    PARTITION_OBJECT,
    SIGNATURE_OBJECT,
)
from sundog.runtime.squashfs.sif import damaged_sif, sif_header, used_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The descriptor of an object.

    group       its number; 0 for none
    link        the number of an object, or of a group; 0 for none
    extra       what only descriptors of this ``kind`` have
    """

    kind: int
    number: int
    group: int
    link: int
    links_group: bool
    offset: int
    size: int
    created: int
    modified: int
    name: str
    extra: bytes

    @property
    def end(self) -> int:
        """The offset of the first byte behind the object."""
        return self.offset + self.size

    @property
    def partition(self) -> tuple[int, int, str]:
        """The file system, the kind of partition, and the architecture; for partitions only."""
        file_system, kind, machine = PARTITION.unpack_from(self.extra)
        return file_system, kind, _text(machine)


@dataclass(frozen=True, slots=True)
class Sif:
    """The header of a SIF, and the descriptors that are in use, in the order of their table."""

    launch: str
    version: str
    machine: str
    identity: uuid.UUID
    created: int
    modified: int
    free: int
    total: int
    table_place: int
    table_size: int
    data_place: int
    data_size: int
    descriptors: tuple[Descriptor, ...]

    @property
    def is_signed(self) -> bool:
        """Tell whether it has a signature."""
        return any(each.kind == SIGNATURE_OBJECT for each in self.descriptors)


def read_sif(fd: int, path: bytes) -> Sif:
    """Return what the SIF ``fd`` says about itself; ``path`` is for messages.

    Raises SundogError if it is no SIF, or a damaged one.
    """
    launch, _, version, machine, identity, *numbers = sif_header(fd, path)
    created, modified, free, total, table, table_size, data_place, data_size = numbers
    descriptors = tuple(_descriptor(fields) for fields in used_descriptors(fd, path))
    if not 0 <= free <= total:
        raise damaged_sif(path, "its count of free descriptors")
    _check_places(fd, path, (table, table + total * DESCRIPTOR.size), descriptors)
    if len({each.number for each in descriptors}) < len(descriptors):
        raise damaged_sif(path, "two objects of one number")
    return Sif(
        _text(launch).rstrip("\n"),
        _text(version),
        _text(machine),
        uuid.UUID(bytes=identity),
        created,
        modified,
        free,
        total,
        table,
        table_size,
        data_place,
        data_size,
        descriptors,
    )


def _check_places(
    fd: int, path: bytes, table: tuple[int, int], descriptors: tuple[Descriptor, ...]
) -> None:
    """Raise SundogError unless each object has its own place in the file."""
    size = os.fstat(fd).st_size
    for each in descriptors:
        if each.size < 0 or not 0 <= each.offset <= each.end <= size:
            raise damaged_sif(path, f"object {each.number} is not in the file")
    places = [
        (0, HEADER.size),
        table,
        *((each.offset, each.end) for each in descriptors if each.size),
    ]
    end = 0
    for start, following in sorted(places):
        if start < end:
            raise damaged_sif(path, "two objects in one place")
        end = following


def _descriptor(fields: tuple[Any, ...]) -> Descriptor:
    kind, _, number, group, link, offset, size, _, created, modified, _, _, name, extra = fields
    return Descriptor(
        kind,
        number,
        group & ~GROUP_MARK,
        link & ~GROUP_MARK,
        link & GROUP_MARK == GROUP_MARK,
        offset,
        size,
        created,
        modified,
        _text(name),
        extra if kind in (PARTITION_OBJECT, SIGNATURE_OBJECT) else b"",
    )


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")
