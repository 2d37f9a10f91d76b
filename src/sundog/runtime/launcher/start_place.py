"""The record of a start: a file of --record, or one in the storage directory for each command."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_SPANS
from sundog.base.record.lazy_layer import LAYER_SOURCE
from sundog.base.record.start_record import STARTS, start_name
from sundog.errors import SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY, exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.start_record import StartRecord
    from sundog.runtime.launcher.options import CommandLine


def start_record(line: CommandLine, store: bytes, layers: Sequence[bytes]) -> StartRecord | None:
    """Return where the start of ``line`` is recorded, None if it is not.

    ``layers`` are those of its image in the storage directory ``store``.  Raises SundogError for a
    --record that is not possible.
    """
    file = line.image.record
    if file is None:
        if line.dry or not any(
            exists(store + b"/layers/" + layer + LAYER_SOURCE) for layer in layers
        ):
            return None
        return _kept_record(store, start_name(layers, line.operands[1:]))
    kinds = [b"/layers/" + layer + name for layer in layers for name in (LAYER_CHUNKS, LAYER_SPANS)]
    if not any(exists(store + kind) for kind in kinds):
        image = printable(line.operands[0])
        raise SundogError(
            f"--record: no layer of {image} came by pull --lazy: there is nothing to record",
            f"see: ch-image pull --lazy {image}",
        )
    above, _, name = file.rpartition(b"/")
    try:
        directory = os.open(above or b"/", OPEN_DIRECTORY)
    except OSError as error:
        raise kernel_error("open", above, error.errno or 0) from None
    held = b"/proc/self/fd/%d" % directory
    if not name or exists(file + b"/") or not os.access(held, os.W_OK | os.X_OK):
        raise SundogError(
            f"--record: can't write {printable(file)}",
            "name a file in a directory that you may write to",
        )
    return None if line.dry else (directory, name, False)


def _kept_record(store: bytes, name: bytes) -> StartRecord | None:
    """Return a record in the storage directory, None if there can't be one."""
    place = store + b"/" + STARTS
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.mkdir(place, 0o700)
    except OSError:
        pass  # it is there, or can't be
    try:
        return os.open(place, OPEN_DIRECTORY | os.O_NOFOLLOW), name, True
    except OSError:
        return None  # it is another user's, or read-only
