"""Find the files of lower layers that manifests name, with few looks at each.

Most records of a layer are found by listing: a directory lists its files with their inode numbers,
and the container sees the same numbers, or an overlay has the layer in their upper bits
(overlayfs.rst, "Inode properties").  A look at some of the files in the container tells which, and
the device.  If these looks disagree, the supervisor looks at all files of the layer.  A record may
be of a file that another layer or a mount hides.  That does no harm, because no other file has its
number.

The other files are looked at one by one (``persist.load_records``): directories, files in
directories with few records, and files with several names.

If the container can change files, those with records must keep their inode numbers (``pins``).  Up
to FEW are held open from the start.  If there are more, each is opened when a call first uses it.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import RESOLVE_NO_XDEV, openat2
from sundog.base.record.owners import DEVICE_KINDS, OwnerRecord, OwnersManifest
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.files import PLAINLY
from sundog.runtime.emulation.notify.state.persist import (
    TYPES,
    is_of_kind,
    link_count,
    load_records,
    open_beneath,
    shown_manifests,
)
from sundog.runtime.emulation.notify.state.record import LISTED, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sundog.runtime.emulation.notify.state.state import State

FEW = 2000  # records of files that may change: so many are held open from the start
SPARSE = 8  # a directory with fewer records is not listed
_FILES = frozenset(TYPES) - {"d"}
LOWEST_OF_LAYER = 1 << 32  # fs/overlayfs, ovl_remap_lower_ino: the layer is in bits above
_SAMPLES = 64  # files of a layer at which the supervisor looks in the container


class OpenedLayer:
    """A layer: its ``tree``, a descriptor, its ``manifest``, and its ``links``.

    The ``links`` are the paths in the manifest of files that may have several names; None if
    nothing is known.
    """

    __slots__ = ("links", "manifest", "tree")

    def __init__(
        self, tree: int, manifest: OwnersManifest, links: Collection[bytes] | None = None
    ) -> None:
        self.tree = tree
        self.manifest = manifest
        self.links = links


class Listed:
    """The files of one layer that its directories list.

    entries   the records by path
    numbers   each record with the inode numbers in the layer of its files
    samples   the paths of some files, with their inode numbers
    """

    __slots__ = ("entries", "numbers", "samples")

    def __init__(self) -> None:
        self.entries: OwnersManifest = {}
        self.numbers: dict[int, tuple[OwnerRecord, list[int]]] = {}  # by id of the record
        self.samples: list[tuple[bytes, int]] = []

    def add(self, record: OwnerRecord) -> list[int]:
        """Return the list of the inode numbers of files with ``record``."""
        return self.numbers.setdefault(id(record), (record, []))[1]


class LowerRecords:
    """The manifests of lower layers taken together, before a container shows the files.

    looked_up   the records of files that are looked at one by one
    listed      the other files, by layer
    linked      the paths of files that get another inode when they change
    is_stable   see ``load_records``
    must_follow
                whether the supervisor must know when a file changes or gets another name
    """

    __slots__ = ("is_stable", "linked", "listed", "looked_up", "must_follow")

    def __init__(
        self,
        layers: Sequence[OpenedLayer],
        shown: OwnersManifest | None = None,
        *,
        is_stable: bool,
        may_change: bool,
    ) -> None:
        """Read the trees of ``layers``, topmost first.  Raises OSError.

        ``shown`` has records of files that the container shows, beside those of layers.
        ``may_change`` tells that the container can change files in an overlay on the layers.
        """
        self.is_stable = is_stable
        self.looked_up: OwnersManifest = dict(shown or {})
        self.listed: list[Listed] = []
        linked: set[bytes] = set()
        manifests = shown_manifests([(layer.tree, layer.manifest) for layer in layers])
        lists = is_stable and (not may_change or sum(map(len, manifests)) > FEW)
        for layer, manifest in zip(layers, manifests, strict=True):
            own = _linked_paths(layer, manifest) if is_stable and may_change else frozenset()
            linked |= own
            if lists:
                listed, rest = _list_files(layer.tree, manifest, own)
                if listed.samples:
                    self.listed.append(listed)
                self.looked_up.update(rest)
            else:
                self.looked_up.update(manifest)
        self.linked = frozenset(linked)
        self.must_follow = may_change and bool(linked or self.listed)

    def is_empty(self) -> bool:
        """Tell whether there is no record of any file."""
        return not self.looked_up and not self.listed


def load_lower(lower: LowerRecords, state: State) -> None:
    """Make records of the files; call it in the container."""
    for listed in lower.listed:
        again = _enter_listed(state, listed, must_follow=lower.must_follow)
        if again:
            load_records(state, again, is_stable=True)
    lower.listed.clear()
    if lower.looked_up:
        load_records(state, lower.looked_up, is_stable=lower.is_stable, linked=lower.linked)


def _linked_paths(layer: OpenedLayer, shown: OwnersManifest) -> frozenset[bytes]:
    """Return the paths in ``shown`` of files of ``layer`` with several names.  Raises OSError."""
    return frozenset(
        path
        for path in (shown if layer.links is None else layer.links)
        if path in shown and shown[path].kind in _FILES and link_count(layer.tree, path) > 1
    )


def _list_files(
    tree: int, manifest: OwnersManifest, linked: Collection[bytes]
) -> tuple[Listed, OwnersManifest]:
    """List the directories of ``tree`` that have many files in ``manifest``.

    Returns the files that were listed, and the rest of the manifest, with the paths in ``linked``.
    """
    counts: dict[bytes, int] = {}
    for path in manifest:
        directory = path.rpartition(b"/")[0]
        counts[directory] = counts.get(directory, 0) + 1
    listed, rest = Listed(), dict(manifest)
    apart = {path: rest.pop(path) for path in linked}
    device = os.fstat(tree).st_dev
    for directory, count in counts.items():
        if count >= SPARSE:
            _list_directory(tree, device, directory, rest, listed)
    step = len(listed.samples) // _SAMPLES + 1
    listed.samples = listed.samples[::step]
    rest.update(apart)
    if listed.samples:
        listed.entries = (
            manifest
            if not rest
            else {path: record for path, record in manifest.items() if path not in rest}
        )
    return listed, rest


def _list_directory(
    tree: int, device: int, directory: bytes, rest: OwnersManifest, listed: Listed
) -> None:
    """Move the files in ``directory`` from ``rest`` to ``listed``."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = openat2(tree, directory or b".", flags, PLAINLY | RESOLVE_NO_XDEV)
    except KernelError:
        return  # what a manifest says of it is wrong
    prefix = directory + b"/" if directory else b""
    last: OwnerRecord | None = None
    is_listed = is_link = False
    numbers: list[int] = []
    sample: tuple[bytes, int] | None = None
    with Closing(fd), os.scandir(b"/proc/self/fd/%d" % fd) as entries:
        if os.fstat(fd).st_dev != device:
            return
        for entry in entries:
            path = prefix + entry.name
            record = rest.get(path)
            if record is None:
                continue
            if record is not last:  # most files in a directory have the same
                last, is_listed, is_link = record, _is_simple(record), record.kind == "l"
                if is_listed:
                    numbers = listed.add(record)
            if is_listed and (
                entry.is_symlink() if is_link else entry.is_file(follow_symlinks=False)
            ):
                numbers.append(entry.inode())
                del rest[path]
                sample = path, numbers[-1]
    if sample is not None:
        listed.samples.append(sample)


def _is_simple(record: OwnerRecord) -> bool:
    """Tell whether the listing of a directory is enough for a file with ``record``."""
    return record.kind in "flcb" and bool(record.uid or record.gid or record.rdev or record.xattrs)


def _enter_listed(state: State, listed: Listed, *, must_follow: bool) -> OwnersManifest:
    """Enter the records of ``listed``; return those of files that must be looked at."""
    found = shown_numbers(listed)
    if found is None:
        return listed.entries
    device, offset = found
    records = state.records
    more: dict[int, Record] = {}
    for record, numbers in listed.numbers.values():
        shown = [number + offset for number in numbers] if offset else numbers
        more.update(dict.fromkeys(shown, _template(device, record)))
        records.attributes = records.attributes or bool(record.xattrs)
        records.devices = records.devices or record.kind in DEVICE_KINDS
    if not records.by_inode.keys().isdisjoint(more):
        return listed.entries  # another layer has files with the same numbers, on another device
    records.by_inode.update(more)
    records.has_listed = must_follow
    return {}


def _template(device: int, entry: OwnerRecord) -> Record:
    """Return the record that all files with ``entry`` share until a call meets them."""
    record = Record(device, LISTED, entry.uid, entry.gid)
    if entry.kind in "cb":
        record.device_type, record.rdev = TYPES[entry.kind], entry.rdev
    if entry.xattrs:
        record.xattrs = dict(entry.xattrs)
    return record


def shown_numbers(listed: Listed) -> tuple[int, int] | None:
    """Return the device of the files, and the difference of the inode numbers in the container.

    None says that the looks at the samples disagree, or that the container shows none of them.  An
    overlay puts the difference into the upper bits.  With any other difference, the container
    shows a copy of the layer, whose numbers have another order.
    """
    found: set[tuple[int, int]] = set()
    with Closing(os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        for path, number in listed.samples:
            fd = open_beneath(root, path)
            if fd < 0:
                continue  # something hides it
            with Closing(fd):
                status = os.fstat(fd)
            if status.st_nlink != 1 or not is_of_kind(status.st_mode, listed.entries[path]):
                return None
            found.add((status.st_dev, status.st_ino - number))
    if len(found) != 1:
        return None
    device, offset = found.pop()
    return None if offset % LOWEST_OF_LAYER else (device, offset)
