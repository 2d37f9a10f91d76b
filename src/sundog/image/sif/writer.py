"""Write the head of a SIF: header, descriptors and all small objects.  The file system follows."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass

from sundog.base.kernel.files import write_all
from sundog.base.record.magic import SIF_MAGIC
from sundog.base.record.sif import (
    DEFINITION_OBJECT,
    DESCRIPTOR,
    GROUP_MARK,
    HEADER,
    JSON_OBJECT,
    LAUNCH,
    PARTITION,
    PARTITION_OBJECT,
    PRIMARY_PARTITION,
    SIF_VERSION,
    SQUASHFS_SYSTEM,
    TABLE_LENGTH,
    TABLE_PLACE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SIF_MODE = 0o755
_START = TABLE_PLACE + TABLE_LENGTH * DESCRIPTOR.size
PAGE = 4096  # where file systems begin
_GROUP = GROUP_MARK | 1
ARCHITECTURES = {
    "386": b"01",
    "amd64": b"02",
    "arm": b"03",
    "arm64": b"04",
    "ppc64": b"05",
    "ppc64le": b"06",
    "mips": b"07",
    "mipsle": b"08",
    "mips64": b"09",
    "mips64le": b"10",
    "s390x": b"11",
    "riscv64": b"12",
}
_UNKNOWN = b"00"


@dataclass(frozen=True, slots=True)
class SifObject:
    """A small object of a SIF: its kind, the name of its descriptor, and its bytes."""

    kind: int
    name: str
    data: bytes


def definition_object(text: bytes) -> SifObject:
    """Return the definition file as an object."""
    return SifObject(DEFINITION_OBJECT, "", text)


def json_object(name: str, text: bytes) -> SifObject:
    """Return a JSON document as an object."""
    return SifObject(JSON_OBJECT, name, text)


def partition_place(objects: Sequence[SifObject]) -> int:
    """Return the offset of the file system behind ``objects``."""
    end = _START + sum(len(each.data) for each in objects)
    return -(-end // PAGE) * PAGE


def write_head(
    file: int, objects: Sequence[SifObject], architecture: str, seconds: int | None
) -> None:
    """Write all of a SIF but its file system, which ``file`` has at ``partition_place`` already.

    ``seconds`` is the time of the SIF, and makes its bytes the same each time: its UUID is 0 then.
    None stands for the present time and a new UUID.  Raises OSError.
    """
    now = int(time.time()) if seconds is None else seconds
    identity = uuid.uuid4() if seconds is None else uuid.UUID(int=0)
    machine = ARCHITECTURES.get(architecture, _UNKNOWN)
    place = partition_place(objects)
    size = os.fstat(file).st_size - place
    partition = PARTITION.pack(SQUASHFS_SYSTEM, PRIMARY_PARTITION, machine)
    described = [(each.kind, each.name, len(each.data), b"") for each in objects]
    table, end = [], _START
    for number, (kind, name, length, extra) in enumerate(
        [*described, (PARTITION_OBJECT, "", size, partition)], start=1
    ):
        start = place if extra else end
        table.append(
            DESCRIPTOR.pack(
                *(kind, True, number, _GROUP, 0),
                *(start, length, start - end + length, now, now, 0, 0),
                *(name.encode(), extra),
            )
        )
        end = start + length
    header = HEADER.pack(
        *(LAUNCH, SIF_MAGIC, SIF_VERSION, machine, identity.bytes, now, now),
        *(TABLE_LENGTH - len(table), TABLE_LENGTH, TABLE_PLACE, TABLE_LENGTH * DESCRIPTOR.size),
        *(_START, end - _START),
    )
    head = b"".join(
        [header.ljust(TABLE_PLACE, b"\0"), b"".join(table).ljust(_START - TABLE_PLACE, b"\0")]
    )
    os.lseek(file, 0, os.SEEK_SET)
    write_all(file, b"".join([head, *(each.data for each in objects)]))
    os.fchmod(file, SIF_MODE)
