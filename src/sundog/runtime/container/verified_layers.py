"""Verify the layers of an image in a shared store: read each file once, and know it again.

The publisher writes the digests of a layer's files beside them.  The user's own storage remembers
for each layer of a store the files that were read, by device, inode, size, time of change and
digest:

    STORAGE/verified/DEVICE.INODE.LAYER    a line for each file; DEVICE and INODE are the store's

The first line is the path of the layer, in hexadecimal digits, for ``ch-image gc``.
A file that has changed since is read again, and must have the digest that it had.  Nothing is
written in the store.
"""

from __future__ import annotations

import errno
import hashlib
import os

from sundog.base.configuration.stores import is_verified
from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.record.shared_image import LAYER_DIGESTS, SHARED_LAYERS, unpack_digests
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.configuration.holding import Holding
    from sundog.base.configuration.stores import SharedImage, SharedStore

    # By the name of a file: what it was when it was read, and its digest.
    _Known = dict[bytes, tuple[bytes, bytes]]

VERIFIED = b"verified"
_FIELDS = 6  # of a line
_RECORD_LIMIT = 64 << 10  # bytes; a path has 4 KiB at most
_DIGITS = b"0123456789abcdef"
_CHUNK = 1 << 20
# Nothing can be remembered; or another start makes the directory at this moment.
_FORGETS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    errno.EEXIST,
)
_AGAIN_HINT = "its owner can remove it, and publish the image again"


def verify_if_wanted(
    image: SharedImage, holding: Holding, storage: bytes | None, tell: Callable[[str], None]
) -> None:
    """Verify ``image`` if the configuration says so; see ``verify``."""
    if is_verified(holding):
        verify(image, storage, tell)


def verify(image: SharedImage, storage: bytes | None, tell: Callable[[str], None]) -> None:
    """Raise StoreError if a file of a layer of ``image`` has not the digest that it shall have.

    ``storage`` is the user's own storage directory; None: none is private, so nothing is
    remembered, and ``tell`` gets a line about it.
    """
    for layer in dict.fromkeys(image.stack.layers):
        _verify_layer(image.store, layer, storage)
    if storage is None:
        tell("no storage directory remembers what --verify has read; ch-image list makes one")


def _verify_layer(store: SharedStore, layer: bytes, storage: bytes | None) -> None:
    place = b"%b/%b" % (SHARED_LAYERS, layer)
    known = {} if storage is None else _remembered(store, layer, storage)
    try:
        if known and all(_state(store, place, name) == known[name][0] for name in known):
            return
        digests = unpack_digests(store.contents(place + LAYER_DIGESTS))
        found: _Known = {}
        for name in digests:
            found[name] = _read(store, place + b"/" + name)
    except FileNotFoundError as error:
        gone = os.fsencode(error.filename) if error.filename else LAYER_DIGESTS[1:]
        raise _refused(store, place, f"{printable(os.path.basename(gone))} is missing") from None
    for name, (_, digest) in found.items():
        if digest != known.get(name, (b"", digests[name]))[1] or digest != digests[name]:
            raise _refused(store, place, f"{printable(name)} has another digest")
    if known.keys() - found.keys():
        raise _refused(store, place, "it has fewer files than before")
    if storage is not None:
        _remember(store, layer, storage, found)


def _read(store: SharedStore, place: bytes) -> tuple[bytes, bytes]:
    """Read a file; return what it is, and its digest.  Raises StoreError and FileNotFoundError."""
    digest = hashlib.sha256()
    with Closing(store.opened(place)) as fd:
        before = file_stamp(os.fstat(fd))
        try:
            while chunk := os.read(fd, _CHUNK):
                digest.update(chunk)
        except OSError as error:
            raise _refused(store, place, error.strerror or "") from None
        if file_stamp(os.fstat(fd)) != before:
            raise _refused(store, place, "it changes")
    return before, digest.hexdigest().encode()


def _state(store: SharedStore, place: bytes, name: bytes) -> bytes:
    return file_stamp(store.status(place + b"/" + name))


def file_stamp(status: os.stat_result) -> bytes:
    """Return what a file is that nobody has changed."""
    return b"%d %d %d %d" % (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)


def _record(store: SharedStore, layer: bytes, storage: bytes) -> bytes:
    status = os.fstat(store.directory)
    return b"%b/%b/%x.%x.%b" % (storage, VERIFIED, status.st_dev, status.st_ino, layer)


def _remembered(store: SharedStore, layer: bytes, storage: bytes) -> _Known:
    """Return what is remembered of a layer; {} if it is nothing, or damaged."""
    try:
        return verified_record(_record(store, layer, storage))[1]
    except OSError:
        return {}


def verified_record(path: bytes) -> tuple[bytes, _Known]:
    """Return the path of a layer, and what is remembered of it; {} if that is damaged.

    Raises OSError.
    """
    with Closing(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
        place, *lines = os.read(fd, _RECORD_LIMIT).split(b"\n")
    fields = [line.split(b" ") for line in lines if line]
    is_path = place and not place.strip(_DIGITS) and not len(place) % 2
    if not is_path or any(len(line) != _FIELDS for line in fields):
        return b"", {}
    known = {line[0]: (b" ".join(line[1:5]), line[5]) for line in fields}
    return bytes.fromhex(place.decode()), known


def _remember(store: SharedStore, layer: bytes, storage: bytes, found: _Known) -> None:
    """Write down what was read; if that is not possible, the next start reads again."""
    place = b"%b/%b/%b" % (store.path, SHARED_LAYERS, layer)
    lines = (b"%b %b %b\n" % (name, *known) for name, known in found.items())
    text = b"%b\n%b" % (place.hex().encode(), b"".join(lines))
    path = _record(store, layer, storage)
    try:
        if not os.path.isdir(os.path.dirname(path)):
            os.mkdir(os.path.dirname(path), 0o700)
        replace_file(path, text)
    except OSError as error:
        if error.errno not in _FORGETS:
            raise


def _refused(store: SharedStore, place: bytes, why: str) -> StoreError:
    path = printable(b"%b/%b" % (store.path, place))
    return StoreError(f"can't verify {path}: {why}", _AGAIN_HINT)
