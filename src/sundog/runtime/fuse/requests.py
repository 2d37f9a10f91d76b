"""Answer the requests of a device of FUSE until its mount is gone."""

from __future__ import annotations

import errno
import os

from sundog.errors import SundogError
from sundog.runtime.fuse.protocol import (
    DESTROY,
    REPLY_HEAD,
    REQUEST_HEAD,
    REQUEST_SIZE,
    UNANSWERED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.fuse.files import Buffers, Handler

# The request was interrupted, or a signal came, or there was nothing after all.
READ_AGAIN = (errno.ENOENT, errno.EINTR, errno.EAGAIN)

_NO_BUFFERS: Buffers = ()


def serve_device(device: int, handlers: dict[int, Handler]) -> None:
    """Answer the requests of ``device`` until its file system is gone.  Raises OSError."""
    request = bytearray(REQUEST_SIZE)
    view = memoryview(request)
    head, head_size, unpack, pack = (
        REQUEST_HEAD.size,
        REPLY_HEAD.size,
        REQUEST_HEAD.unpack_from,
        REPLY_HEAD.pack,
    )
    while True:
        try:
            length = os.readv(device, [request])
        except OSError as error:
            if error.errno in READ_AGAIN:
                continue
            if error.errno == errno.ENODEV:
                return
            raise
        _, opcode, unique, node, _ = unpack(request)
        handler = handlers.get(opcode)
        answer, number = _NO_BUFFERS, 0
        if handler is None:
            if opcode in UNANSWERED:
                continue
            number = 0 if opcode == DESTROY else errno.ENOSYS
        else:
            try:
                answer = handler(node, view[head:length])
            except (SundogError, MemoryError):
                number = errno.EIO  # the image is damaged
            except OSError as error:
                number = error.errno or errno.EIO
        size = head_size
        for buffer in answer:
            size += len(buffer)
        try:
            os.writev(device, [pack(size, -number, unique), *answer])
        except OSError as error:
            if error.errno != errno.ENOENT:  # an interrupted request is gone
                raise
