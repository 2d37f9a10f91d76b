"""Find the SquashFS in a SIF, the file format of Apptainer and Singularity."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import printable
from sundog.base.record.magic import (
    IMAGE_HEAD,
    OLD_IMAGE,
    OLD_IMAGE_PLACE,
    SIF_IMAGE,
    SIF_MAGIC,
    SIF_MAGIC_PLACE,
    SQUASHFS_MAGIC,
    image_kind,
)
from sundog.base.record.sif import (
    DESCRIPTOR,
    DESCRIPTOR_LIMIT,
    ENCRYPTED_SYSTEM,
    HEADER,
    PARTITION,
    PARTITION_OBJECT,
    PRIMARY_PARTITION,
    SQUASHFS_SYSTEM,
)
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_FILE_SYSTEMS = {
    2: "ext3",
    3: "an archive",
    4: "raw data",
    ENCRYPTED_SYSTEM: "encrypted",
}
_HINT = "build it again as a plain SIF: apptainer build NEW.sif OLD.sif"


def squashfs_place(fd: int, path: bytes) -> int:
    """Return the offset of SquashFS in the file ``fd``: for SIF, that of the primary partition.

    ``path`` is for messages.  Raises SundogError for a SIF without such a partition.
    """
    kind = image_kind(os.pread(fd, IMAGE_HEAD, 0))
    if kind != SIF_IMAGE and kind:
        return OLD_IMAGE_PLACE if kind == OLD_IMAGE else 0
    shown, size = printable(path), os.fstat(fd).st_size
    for what, *_, offset, _, _, _, _, _, _, _, extra in used_descriptors(fd, path):
        file_system, partition, _ = PARTITION.unpack_from(extra)
        if what != PARTITION_OBJECT or partition != PRIMARY_PARTITION:
            continue
        if file_system != SQUASHFS_SYSTEM:
            other = _FILE_SYSTEMS.get(file_system, f"of kind {file_system}")
            raise SundogError(f"can't read {shown}: its system partition is {other}", _HINT)
        if not 0 <= offset < size or os.pread(fd, len(SQUASHFS_MAGIC), offset) != SQUASHFS_MAGIC:
            raise damaged_sif(path, "its system partition")
        return int(offset)
    raise SundogError(f"can't read {shown}: no system partition in this SIF", _HINT)


def sif_header(fd: int, path: bytes) -> tuple[Any, ...]:
    """Return the fields of the header of a SIF.  Raises SundogError."""
    start = os.pread(fd, HEADER.size, 0)
    if not start.startswith(SIF_MAGIC, SIF_MAGIC_PLACE):
        raise SundogError(f"can't read {printable(path)}: neither SquashFS nor SIF")
    if len(start) < HEADER.size:
        raise damaged_sif(path, "its header")
    return HEADER.unpack(start)


def used_descriptors(fd: int, path: bytes) -> Iterator[tuple[Any, ...]]:
    """Yield the fields of each descriptor that is in use.  Raises SundogError."""
    count, table = sif_header(fd, path)[8:10]
    if not 0 < count <= DESCRIPTOR_LIMIT or not 0 <= table < os.fstat(fd).st_size:
        raise damaged_sif(path, "its table of descriptors")
    for place in range(table, table + count * DESCRIPTOR.size, DESCRIPTOR.size):
        packed = os.pread(fd, DESCRIPTOR.size, place)
        if len(packed) < DESCRIPTOR.size:
            raise damaged_sif(path, "its table of descriptors")
        fields = DESCRIPTOR.unpack(packed)
        if fields[1]:
            yield fields


def damaged_sif(path: bytes, part: str) -> SundogError:
    """Return the error for a SIF that its writer did not make like this."""
    return SundogError(f"damaged SIF: {printable(path)}: {part}", "copy or download the file again")
