"""Delete an object of a SIF: a copy without it takes the file's place."""

from __future__ import annotations

import os
import stat
import time

from sundog.base.kernel.drafts import Replacing
from sundog.base.kernel.files import Closing
from sundog.base.record.sif import DESCRIPTOR, HEADER
from sundog.errors import SundogError
from sundog.image.sif.reader import read_sif

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.sif.reader import Descriptor, Sif

_CHUNK = 1 << 20


def descriptor_of(sif: Sif, number: int, path: str) -> Descriptor:
    """Return the descriptor of the object ``number``.  Raises SundogError."""
    for each in sif.descriptors:
        if each.number == number:
            return each
    raise SundogError(f"no object {number} in {path}", f"sundog apptainer sif list {path}")


def delete_object(path: str, number: int) -> None:
    """Delete the object ``number`` of the SIF ``path``; its bytes become zeros.

    Raises SundogError and OSError; then the file is as it was.
    """
    encoded = os.fsencode(path)
    draft = os.fsencode(f"{path}.{os.getpid()}.part")
    with Closing(os.open(encoded, os.O_RDONLY | os.O_CLOEXEC)) as source:
        sif = read_sif(source, encoded)
        gone = descriptor_of(sif, number, path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with Replacing(encoded, draft), Closing(os.open(draft, flags, 0o600)) as copy:
            status = os.fstat(source)
            is_last = gone.end == status.st_size
            _copy(source, copy, 0, gone.offset)
            if not is_last:
                _copy(source, copy, gone.end, status.st_size)
            os.ftruncate(copy, gone.offset if is_last else status.st_size)
            _rewrite(copy, sif, gone, is_last=is_last)
            os.fchmod(copy, stat.S_IMODE(status.st_mode))


def _copy(source: int, copy: int, start: int, end: int) -> None:
    while start < end:
        data = os.pread(source, min(_CHUNK, end - start), start)
        if not data:
            raise SundogError("the SIF has become shorter while it was read")
        start += os.pwrite(copy, data, start)


def _rewrite(copy: int, sif: Sif, gone: Descriptor, *, is_last: bool) -> None:
    """Take an object out of the header and the table of a copy."""
    for index in range(sif.total):
        place = sif.table_place + index * DESCRIPTOR.size
        fields = DESCRIPTOR.unpack(os.pread(copy, DESCRIPTOR.size, place))
        if fields[1] and fields[2] == gone.number:
            os.pwrite(copy, bytes(DESCRIPTOR.size), place)
    header = list(HEADER.unpack(os.pread(copy, HEADER.size, 0)))
    header[6], header[7] = int(time.time()), sif.free + 1
    if is_last:
        header[12] = gone.offset - sif.data_place
    os.pwrite(copy, HEADER.pack(*header), 0)
