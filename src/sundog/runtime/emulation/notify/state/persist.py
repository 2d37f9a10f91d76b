"""Turn owners manifests of layers (``record.owners``) into records, and records into a manifest.

At the start of a run the supervisor looks at each path that the manifests of the lower layers name,
and makes records of the files there.  At the end it looks at each path of the upper directory, and
puts files with a record into the upper's manifest.  The topmost layer that has a path decides about
the path alone, so a path of the upper without a record is 0:0.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import encode_text
from sundog.base.kernel.modes import S_IFDIR, S_IFMT
from sundog.base.kernel.mounts import (
    RESOLVE_NO_XDEV,
    openat2,
)
from sundog.base.record.owners import DEVICE_KINDS, INODE_KINDS, OwnerRecord, OwnersManifest
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.state.attributes import shown_value
from sundog.runtime.emulation.notify.state.chmod import settled
from sundog.runtime.emulation.notify.state.files import PLAINLY, Status, file_system_type
from sundog.runtime.emulation.notify.state.record import INODE_DECIDES, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Sequence

    from sundog.runtime.emulation.notify.state.state import State

TYPES = {kind: file_type for file_type, kind in INODE_KINDS.items()}
# File systems whose directories list files by st_ino: linux/magic.h.  Others may do so, too, but an
# overlay may not, and a file system behind FUSE may not.
LISTING_INODES = frozenset(
    (
        0xEF53,  # ext4
        0x58465342,  # XFS
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
    )
)

_PATH_LIMIT = 4094  # PATH_MAX without the "/" in front and the NUL behind


def shown_manifests(layers: Sequence[tuple[int, OwnersManifest]]) -> list[OwnersManifest]:
    """Return what the manifest of each layer says about the paths that the layer decides about.

    A layer is the descriptor of a tree, and a manifest; the topmost comes first.  Raises OSError.
    """
    shown: list[OwnersManifest] = []
    above: list[_Held] = []
    for tree, manifest in layers:
        if above:
            manifests = shown[:]
            shown.append(
                {
                    path: record
                    for path, record in manifest.items()
                    if not any(path in manifest for manifest in manifests)
                    if not any(layer.has(path) for layer in above)
                }
            )
        else:
            shown.append(manifest)
        above.append(_Held(tree))
    return shown


def merged_manifest(layers: Sequence[tuple[int, OwnersManifest]]) -> OwnersManifest:
    """Return what the manifests of ``layers`` say together; see ``shown_manifests``."""
    merged: OwnersManifest = {}
    for shown in shown_manifests(layers):
        merged.update(shown)
    return merged


class _Held:
    """The paths about which the layer with the tree ``tree``, a descriptor, decides.

    Most layers lack most directories of the layers below, and one look tells about all paths in
    such a directory.  If the layer has the directory, a list of its names tells about many paths.
    """

    ABSENT, OPEN, CLOSED = range(3)  # not there, a directory, something else
    LOOKS = 8  # so many paths of a directory are looked up before its names are listed

    def __init__(self, tree: int) -> None:
        self._tree = tree
        self._directories = {b"": self.OPEN}
        self._looks: dict[bytes, int] = {}
        self._names: dict[bytes, frozenset[bytes]] = {}

    def has(self, path: bytes) -> bool:
        """Tell whether the tree has ``path``, or has a file in place of a directory above it."""
        parent, _, name = path.rpartition(b"/")
        state = self._directories.get(parent)
        if state is None:
            state = self._look(parent)
        if state != self.OPEN:
            return state == self.CLOSED
        names = self._names.get(parent)
        if names is not None:
            return not path or name in names
        self._looks[parent] = looks = self._looks.get(parent, 0) + 1
        if looks == self.LOOKS:
            self._names[parent] = self._listed(parent)
        return not path or self._type(path) is not None

    def _listed(self, path: bytes) -> frozenset[bytes]:
        """Return the names in the directory ``path``."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with Closing(os.open(path or b".", flags, dir_fd=self._tree)) as fd:
            return frozenset(map(encode_text, os.listdir(fd)))

    def _look(self, path: bytes) -> int:
        """Return, and remember, the state of ``path``: ABSENT, OPEN or CLOSED."""
        parent = path.rpartition(b"/")[0]
        state = self._directories.get(parent)
        if state is None:
            state = self._look(parent)
        if state == self.OPEN:
            kind = self._type(path)
            if kind is None:
                state = self.ABSENT
            elif kind != S_IFDIR:
                state = self.CLOSED
        self._directories[path] = state
        return state

    def _type(self, path: bytes) -> int | None:
        try:
            status = os.stat(path, dir_fd=self._tree, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return status.st_mode & S_IFMT


def link_count(tree: int, path: bytes) -> int:
    """Return the number of links of the file at ``path`` in ``tree``, 0 if no file is there."""
    try:
        return os.stat(path, dir_fd=tree, follow_symlinks=False).st_nlink
    except (FileNotFoundError, NotADirectoryError):
        return 0


def load_records(
    state: State,
    manifest: OwnersManifest,
    *,
    root: bytes = b"/",
    is_stable: bool,
    linked: Collection[bytes] | None = None,
) -> None:
    """Make records of what ``manifest`` says about the files below ``root``.

    ``is_stable`` tells that the inodes belong to a lower layer, so that nothing frees them.  A file
    at one of the paths ``linked`` gets another inode when it changes; without ``linked``, the
    supervisor looks at the number of each file's names.  Paths that are missing,
    hidden by a mount, or of another type get no record.
    """
    with Closing(os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as top:
        for path, entry in manifest.items():
            fd = open_beneath(top, path) if entry.kind in TYPES else -1
            if fd < 0:
                continue
            status = state.files.descriptor_status(fd)
            _load_record(state, status, entry, is_stable=is_stable)
            record = state.records.find(status)
            if record is None or entry.kind == "d" or not is_stable:
                os.close(fd)
                continue
            if os.fstat(fd).st_nlink > 1 if linked is None else path in linked:
                state.records.linked[status.name()] = record
            state.records.pins.hold(fd)


def open_beneath(root: int, path: bytes) -> int:
    """Return a descriptor of ``path`` below ``root``, or -1.

    It is -1 if no file is there, or if the path leads through a symbolic link or a mount.
    """
    resolve = PLAINLY | RESOLVE_NO_XDEV
    try:
        return openat2(root, path or b".", os.O_PATH | os.O_NOFOLLOW, resolve)
    except KernelError:
        return -1


def _load_record(state: State, status: Status, entry: OwnerRecord, *, is_stable: bool) -> None:
    """Make a record of ``entry`` for the file that ``status`` describes, if their types agree."""
    if not is_of_kind(status.mode, entry):
        return
    record = state.records.make(status, is_stable=is_stable)
    record.uid, record.gid = entry.uid, entry.gid
    if entry.kind in DEVICE_KINDS:
        record.device_type, record.rdev = TYPES[entry.kind], entry.rdev
    if entry.xattrs:
        record.xattrs = dict(entry.xattrs)
    state.records.keep(status, record)


def is_of_kind(mode: int, entry: OwnerRecord) -> bool:
    """Tell whether an inode of ``mode`` can be the file that ``entry`` describes."""
    return mode & S_IFMT == TYPES["f" if entry.kind in DEVICE_KINDS else entry.kind]


def collect_manifest(state: State, upper: int, shown: bytes = b"/") -> OwnersManifest:
    """Return the manifest of the tree ``upper``, a descriptor; the directory ``shown`` shows it.

    The manifest has the paths with a record.  It has no whiteouts and no opaque marks.
    """
    manifest: OwnersManifest = {}
    records, files = state.records, state.files
    if records.is_empty():
        return manifest
    entries: dict[tuple[object, ...], OwnerRecord] = {}
    known = None if records.linked or not lists_inodes(upper) else records.by_inode
    with Closing(os.open(shown, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        for path in walk(upper, known):
            fd = open_beneath(root, path)
            if fd < 0:
                continue  # the path is a whiteout, or a mount hides it
            with Closing(fd):
                place = b"self/fd/%d" % fd
                status = files.whole_status(place)
                record = records.find(status)
                if record is not None and record.permissions != INODE_DECIDES:
                    status = settled(state, place, status)
                    record = records.find(status)
                if record is not None:
                    entry = _manifest_entry(status, record)
                    manifest[path] = entries.setdefault(entry.values(), entry)
    return manifest


def load_mounted(state: State, destination: bytes, manifest: OwnersManifest) -> None:
    """Make records of what ``manifest`` says about the files mounted at ``destination``.

    ``destination`` is a directory, or a file, which ``manifest`` calls b"".  Raises OSError.
    """
    with Closing(os.open(destination, os.O_PATH | os.O_CLOEXEC)) as fd:
        status = state.files.descriptor_status(fd)
        if status.mode & S_IFMT == S_IFDIR:
            load_records(state, manifest, root=destination, is_stable=False)
        elif b"" in manifest:
            _load_record(state, status, manifest[b""], is_stable=False)


def collect_tree(state: State, tree: int) -> OwnersManifest:
    """Return the manifest of the directory ``tree``, a descriptor, wherever it is mounted."""
    manifest: OwnersManifest = {}
    if state.records.is_empty():
        return manifest
    for path in walk(tree):
        fd = open_beneath(tree, path)
        if fd < 0:
            continue
        try:
            status = state.files.descriptor_status(fd)
            status = settled(state, b"self/fd/%d" % fd, status)
            record = state.records.find(status)
            if record is not None:
                manifest[path] = _manifest_entry(status, record)
        finally:
            os.close(fd)
    return manifest


def _manifest_entry(status: Status, record: Record) -> OwnerRecord:
    """Return the manifest's entry of the file that ``status`` and ``record`` describe."""
    file_type = record.emulated_mode(status.mode) & S_IFMT
    xattrs = [(name, shown_value(record, name, status.mode)) for name in record.xattrs or ()]
    return OwnerRecord(
        INODE_KINDS.get(file_type, "f"),
        record.uid,
        record.gid,
        rdev=record.rdev,
        xattrs=tuple(xattrs),
    )


def lists_inodes(tree: int) -> bool:
    """Tell whether directories in ``tree`` list files by the inode numbers that the container sees.

    They do if the tree is the container's root itself, not an overlay's layer, and if its file
    system is one of LISTING_INODES.
    """
    status = os.fstat(tree)
    root = os.stat(b"/")
    is_root = (status.st_dev, status.st_ino) == (root.st_dev, root.st_ino)
    return is_root and file_system_type(tree) in LISTING_INODES


def walk(tree: int, inodes: Container[int] | None = None) -> Iterator[bytes]:
    """Yield b"", which is ``tree`` itself, and the path of each file in its own file system.

    With ``inodes``, yield directories, and files that are listed by one of these inode numbers.
    What lies deeper than PATH_MAX is left out, and so are directories that another program removes
    or another user of the host has closed.
    """
    device = os.fstat(tree).st_dev
    yield b""
    directories = [b"."]
    while directories:
        directory = directories.pop()
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=tree)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        with Closing(fd):
            if os.fstat(fd).st_dev != device:
                continue
            prefix = b"" if directory == b"." else directory + b"/"
            with os.scandir(fd) as entries:
                for entry in entries:
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if not is_directory and inodes is not None and entry.inode() not in inodes:
                        continue
                    path = prefix + encode_text(entry.name)
                    if len(path) > _PATH_LIMIT:
                        continue
                    yield path
                    if is_directory:
                        directories.append(path)
