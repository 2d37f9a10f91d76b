"""Find the SquashFS in a SIF, the file format of Apptainer and Singularity.

Specification: the header and the descriptors of github.com/apptainer/sif, pkg/sif.  All numbers are
little-endian.
"""

from __future__ import annotations

import os

from sundog.base.cpython import Struct
from sundog.base.kernel.libc import printable
from sundog.base.record.magic import SIF_MAGIC, SIF_MAGIC_PLACE, SQUASHFS_MAGIC
from sundog.errors import SundogError

# Launch script, magic, version, architecture, UUID, two times, free descriptors; then the number of
# descriptors and their place.
_SIF_HEADER = Struct("<32s10s3s3s16s3qqq")
# Type, in use, ID, group, link, offset, size; two sizes and times, uid, gid, name; then, for a
# partition: the kind of file system, and the kind of partition.
_SIF_DESCRIPTOR = Struct("<i?3I2q3q2q128s2i")
_SIF_DESCRIPTOR_SIZE = 585
_SIF_DESCRIPTOR_LIMIT = 4096  # in a file of a stranger
_SIF_PARTITION = 0x4004
_SIF_SQUASHFS = 1
_SIF_SQUASHFS_ENCRYPTED = 5
_SIF_PRIMARY_SYSTEM = 2

_SIF_FILE_SYSTEMS = {
    2: "ext3",
    3: "an archive",
    4: "raw data",
    _SIF_SQUASHFS_ENCRYPTED: "encrypted",
}
_SIF_HINT = "build it again as a plain SIF: apptainer build NEW.sif OLD.sif"


def squashfs_place(fd: int, path: bytes) -> int:
    """Return the offset of SquashFS in the file ``fd``: 0, or that of a SIF's primary partition.

    ``path`` is for messages.  Raises SundogError for a SIF without such a partition.
    """
    start = os.pread(fd, _SIF_HEADER.size, 0)
    if start.startswith(SQUASHFS_MAGIC):
        return 0
    shown = printable(path)
    if not start.startswith(SIF_MAGIC, SIF_MAGIC_PLACE):
        raise SundogError(f"can't read {shown}: neither SquashFS nor SIF")
    if len(start) < _SIF_HEADER.size:
        raise _damaged_sif(shown, "its header")
    *_, count, table = _SIF_HEADER.unpack(start)
    size = os.fstat(fd).st_size
    if not 0 < count <= _SIF_DESCRIPTOR_LIMIT or not 0 <= table < size:
        raise _damaged_sif(shown, "its table of descriptors")
    for index in range(count):
        packed = os.pread(fd, _SIF_DESCRIPTOR.size, table + index * _SIF_DESCRIPTOR_SIZE)
        if len(packed) < _SIF_DESCRIPTOR.size:
            raise _damaged_sif(shown, "its table of descriptors")
        kind, is_used, _, _, _, offset, *_, file_system, partition = _SIF_DESCRIPTOR.unpack(packed)
        if not is_used or kind != _SIF_PARTITION or partition != _SIF_PRIMARY_SYSTEM:
            continue
        if file_system != _SIF_SQUASHFS:
            what = _SIF_FILE_SYSTEMS.get(file_system, f"of kind {file_system}")
            raise SundogError(f"can't read {shown}: its system partition is {what}", _SIF_HINT)
        if not 0 <= offset < size or os.pread(fd, len(SQUASHFS_MAGIC), offset) != SQUASHFS_MAGIC:
            raise _damaged_sif(shown, "its system partition")
        return int(offset)
    raise SundogError(f"can't read {shown}: no system partition in this SIF", _SIF_HINT)


def _damaged_sif(shown: str, part: str) -> SundogError:
    """Return the error for a SIF that its writer did not make like this."""
    return SundogError(f"damaged SIF: {shown}: {part}", "copy or download the file again")
