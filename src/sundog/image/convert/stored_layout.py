"""``ch-run oci:PATH[:TAG]``: an image of a layout or an archive, brought into the store once.

Its name in the store has the digest of its manifest: ``localhost/oci@sha256:HEX``.  An archive of
``docker save`` has no manifest of an image; there it is the digest of the configuration:
``localhost/docker@sha256:HEX``.  Both digests stand for the whole content.  So two layouts with one
image have one name, and an image with this name is never loaded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from sundog.base.kernel.libc import kernel_error
from sundog.base.record.known_layouts import (
    KNOWN_LAYOUTS,
    LAYOUT_RECORD_LIMIT,
    KnownLayout,
    name_of_record,
)
from sundog.base.record.names import canonical_name
from sundog.errors import NotInStorage, StoreError
from sundog.image.convert.archived import load_layers
from sundog.image.convert.in_place import name_in_place, place_layers, why_not_in_place
from sundog.image.convert.load import FoundImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.convert.archived import ArchivedImage
    from sundog.image.convert.load import BringLayers
    from sundog.image.oci.platform import Platform
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

# In ns.  A file that was changed before this time and is changed again has another time then: the
# clocks of file systems are not finer than some milliseconds.
_SETTLED = 500_000_000


@dataclass(frozen=True, slots=True)
class StoredLayout:
    """The name of an image in the store, and whether it is there."""

    name: str
    is_there: bool


def stored_layout(
    store: Store,
    path: bytes,
    tag: bytes,
    *,
    platform: Platform,
    report: Report,
    loads: bool,
    in_place: bool = False,
) -> StoredLayout:
    """Return the image of the layout or archive ``path``; bring it into the store if it ``loads``.

    ``in_place``: if the store has not all of it, its layers stay in the layout, where they can.
    Of many processes that ask for the same image, one reads it, and the others wait.  Raises
    ArchiveError and SundogError.
    """

    def waiting() -> None:
        report.verbose("waiting for another ch-run that loads the same image")

    known = _look(path, tag)
    with store.turn(f"layout-{known.inode}").held(waiting):
        _let_settle(known)
        known = _look(path, tag)
        is_settled = time.time_ns() - known.changed >= _SETTLED
        for each in (known, _look(path, tag, in_place=True))[: 1 + in_place]:
            name = _recorded(store, each)
            if name is not None:  # another process was faster
                return StoredLayout(name, is_there=True)
        source = os.fsdecode(path)
        found = FoundImage.find(store, source, source, os.fsdecode(tag), platform=platform)
        name = canonical_name(_name(found.image))
        is_there = _has(store, name)
        bring: BringLayers = load_layers
        in_place = in_place and not is_there and _stays(found, report)
        if in_place:
            known = _look(path, tag, in_place=True)
            bring = place_layers
            name = canonical_name(name_in_place(path, name.partition("@")[2]))
            is_there = _has(store, name)
        if not is_there and loads:
            report.info(f"loading image:   {name}")
            image = found.load(report, bring)
            store.images.put(
                replace(image, reference=name, typed=name, origin=f"ch-run of {source}")
            )
            is_there = True
        if is_there and is_settled and known.pack(name) == _look(path, tag).pack(name):
            _record(store, known, name)
        return StoredLayout(name, is_there)


def _look(path: bytes, tag: bytes, *, in_place: bool = False) -> KnownLayout:
    try:
        return KnownLayout(path, tag, in_place=in_place)
    except OSError as error:
        raise kernel_error("open", path, error.errno or 0) from None


def _stays(found: FoundImage, report: Report) -> bool:
    """Tell whether the layers of an image can stay in its layout."""
    why = why_not_in_place(found.store, found.members)
    if why:
        report.warning(f"the image is taken whole: {why}")
    return not why


def _let_settle(known: KnownLayout) -> None:
    """Wait until another change of the file would show in its times; not for a wrong clock."""
    age = time.time_ns() - known.changed
    if 0 <= age < _SETTLED:
        time.sleep((_SETTLED - age) / 1e9)


def _name(image: ArchivedImage) -> str:
    if image.documents:
        digest, _ = image.documents[-2]  # the manifest; the configuration is the last
        return f"localhost/oci@{digest}"
    text = json.dumps(image.config.to_json(), sort_keys=True).encode()
    return f"localhost/docker@sha256:{hashlib.sha256(text).hexdigest()}"


def _has(store: Store, name: str) -> bool:
    try:
        store.images.get(name)
    except (NotInStorage, StoreError):
        return False
    return True


def _recorded(store: Store, known: KnownLayout) -> str | None:
    """Return the name of the image if its layout has a record, and the store has the image."""
    with suppress(OSError), open(store.at(known.place), "rb") as file:
        name = known.unpack(file.read(LAYOUT_RECORD_LIMIT))
        if name is not None and _has(store, name):
            return name
    return None


def _record(store: Store, known: KnownLayout, name: str) -> None:
    """Record the image of a layout whose file did not change while it was read.

    Also remove the records of images that the store no longer has.  A store that is full can do
    without records.
    """
    record = known.pack(name)
    if len(record) > LAYOUT_RECORD_LIMIT:
        return
    directory = store.at(KNOWN_LAYOUTS)
    with suppress(OSError):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for entry in os.scandir(directory):
            with open(entry.path, "rb") as file:
                image = name_of_record(file.read(LAYOUT_RECORD_LIMIT))
            if not store.images.has(image):
                os.unlink(entry.path)
        store.write_file(store.at(known.place), record)
