"""The tree worker's work on layers: the functions that ``TreeWorker.call`` runs.

They read and write manifests themselves, so that manifests need not cross between processes;
arguments and results are small.  A draft of a layer is a directory of ``tmp/`` in which they make
``tree`` and ``owners``.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from typing import cast

from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.mounts import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
)
from sundog.base.record.layer_path import LayerPath
from sundog.base.record.links import pack_links
from sundog.base.record.owners import pack_owners
from sundog.image.layer.below import LayerTree
from sundog.image.layer.remove import remove_tree
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.shown_trees import see
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.directory_owners import Owner
    from sundog.image.layer.inherit import StepOwners

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_NO_LINKS = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


def unpack_archive(archive: bytes | None, draft: bytes) -> LayerInfo:
    """Unpack a tar of a whole image, in any compression, into ``draft``; None is standard input."""
    from sundog.image.layer.compression import open_decompressed
    from sundog.image.layer.unpack import unpack

    tree = new_tree(draft)
    with (
        open(0 if archive is None else archive, "rb", closefd=archive is not None) as raw,
        open_decompressed(cast("BinaryIO", _Counted(raw))) as stream,
    ):
        unpacked = unpack(stream, tree, import_rules=True)
    return finish_draft(draft, unpacked.owners, unpacked.diff_id)


class _Counted:
    """A file that counts what is read from it."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        WATCH.count(len(data))
        return data


def copy_directory(
    directory: bytes, foreign: Mapping[bytes, Owner], draft: bytes, *, guessed: bool
) -> LayerInfo:
    """Copy a directory that holds a whole image into ``draft``.

    ``foreign`` is from ``layer.import_directory.foreign_owners``, called outside of the worker;
    ``guessed`` is as for ``import_directory``.
    """
    from sundog.image.layer.import_directory import import_directory

    imported = import_directory(directory, new_tree(draft), foreign, guessed=guessed)
    return finish_draft(draft, imported.owners, imported.digest)


def seal(
    draft: bytes,
    below: Sequence[LayerPath],
    skeleton: bytes,
    known: StepOwners | None,
) -> LayerInfo | None:
    """Make a layer of the overlay ``upper`` and ``work`` in ``draft``; None if nothing changed.

    ``known`` are the owners that the step itself knows.
    """
    from sundog.image.layer.seal import seal_upper

    upper = os.path.join(draft, b"upper")
    owners = seal_upper(upper, _loaded(below), skeleton, known)
    if owners is None:
        return None
    remove_tree(os.path.join(draft, b"work"))
    os.rename(upper, LayerPath.of(draft).tree)
    return finish_draft(draft, owners, known=known)


def flatten_layers(layers: Sequence[LayerPath], bottom: bytes | None, target: bytes) -> None:
    """Merge ``layers``, topmost first, over the directory ``bottom`` into the new ``target``."""
    from sundog.image.layer.flatten import flatten

    stack = _loaded(layers)[::-1]
    if bottom is not None:
        stack.insert(0, LayerTree(bottom, {}))
    flatten(stack, target)


def join_layers(draft: bytes, layers: Sequence[LayerPath], below: Sequence[LayerPath]) -> LayerInfo:
    """Make a layer of ``layers``, for use on top of ``below``; both have the topmost first."""
    from sundog.image.layer.join import join

    owners, is_unseen = join(_loaded(layers), _loaded(below), new_tree(draft))
    info = finish_draft(draft, owners)
    return replace(info, guessed=any(layer.guessed for layer in layers), unrecorded=is_unseen)


def prepare_copy(draft: bytes, layers: Sequence[LayerPath], skeleton: bytes) -> None:
    """Flatten ``layers`` into ``work`` in ``draft``, and write a scan of it to ``before``."""
    from sundog.image.layer.scan import pack_scan, scan

    work = os.path.join(draft, b"work")
    flatten_layers(layers, skeleton, work)
    with open(os.path.join(draft, b"before"), "wb") as file:
        file.write(pack_scan(scan(work)))


def extract_changes(
    draft: bytes,
    below: Sequence[LayerPath],
    skeleton: bytes,
    known: StepOwners | None,
) -> LayerInfo | None:
    """Make a layer of what changed in ``work`` since ``prepare_copy``; None if nothing changed.

    ``known`` is as for ``seal``.
    """
    from sundog.image.layer.scan import diff, unpack_scan

    work, note = os.path.join(draft, b"work"), os.path.join(draft, b"before")
    with open(note, "rb") as file:
        before = unpack_scan(file.read())
    owners = diff(work, before, new_tree(draft), _loaded(below), skeleton, known=known)
    if owners is None:
        return None
    remove_tree(work)
    os.unlink(note)
    return finish_draft(draft, owners, known=known)


def write_layer_tar(layer: LayerPath, destination: bytes | None) -> str:
    """Write a layer as a tar to ``destination``, None for nowhere; return the tar's digest."""
    from sundog.image.layer.write_tar import write_tar

    (loaded,) = _loaded([layer])
    with open(os.devnull if destination is None else destination, "wb") as out:
        return write_tar(out, loaded.tree, loaded.owners)


def write_index(tree: bytes, file: bytes, destination: bytes) -> int:
    """Write the index of ``tree``, whose contents are in ``file``, to the new ``destination``.

    Returns the number of bytes in the files of the tree, hard links once.
    """
    from sundog.image.layer.index_tree import index_of_tree
    from sundog.runtime.squashfs.image import SquashfsImage

    with Closing(os.open(file, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        index, size = index_of_tree(tree, SquashfsImage(fd))
        parts = index.parts(os.fstat(fd).st_size)
    with open(destination, "xb") as out:
        out.writelines(parts)
    return size


def copy_shown(tree: bytes, draft: bytes) -> None:
    """Copy ``tree``, of a layer that is one file, into ``draft``, with the overlay's marks."""
    from sundog.image.layer.replica import copy_exactly

    see(tree)
    copy_exactly(tree, new_tree(draft))


def changes_of_upper(
    upper: bytes, own: Sequence[LayerPath], image: Sequence[LayerPath], skeleton: bytes
) -> list[tuple[str, bytes]]:
    """Return the changes of a container: see ``layer.changes``."""
    from sundog.image.layer.changes import tree_changes

    see(*(layer.tree for layer in (*own, *image)))
    return tree_changes(upper, own, image, skeleton)


def content_size(tree: bytes) -> int:
    """Return the bytes in the files below ``tree``, hard links once."""
    from sundog.image.layer.directories import Directories
    from sundog.image.layer.walk import walk

    sizes: dict[int, int] = {}
    see(tree)
    with Directories(tree) as directories:
        for _path, _fd, entries in walk(directories):
            for _name, status in entries:
                if stat.S_ISREG(status.st_mode):
                    sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def read_in_tree(tree: bytes, path: bytes, limit: int, *, follow: bool = False) -> bytes | None:
    """Read up to ``limit`` bytes of a regular file in ``tree``.

    Returns None if there is no such file, or, unless ``follow``, a symlink on the way.  Symlinks
    are resolved inside the tree.
    """
    see(tree)
    how = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS if follow else _NO_LINKS
    with Closing(os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        fd = open_regular(root, path, how)
    if fd < 0:
        return None
    with open(fd, "rb") as file:
        return file.read(limit)


def paths_in_tree(tree: bytes, paths: Sequence[bytes]) -> list[bytes]:
    """Return those of ``paths`` at which the tree of a layer has something."""
    from sundog.image.layer.directories import Directories

    see(tree)
    found = []
    with Directories(tree) as directories:
        for path in paths:
            directory, _, name = path.rpartition(b"/")
            try:
                status = os.lstat(name, dir_fd=directories.open(directory))
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                continue
            if not stat.S_ISCHR(status.st_mode):  # the mark of a whiteout
                found.append(path)
    return found


def make_directory(path: bytes) -> None:
    """Make a directory in a tree: mkdir(2) in the worker."""
    os.mkdir(path)


def rename(old: bytes, new: bytes) -> None:
    """Move a tree to its place: rename(2) in the worker."""
    os.rename(old, new)


def new_tree(draft: bytes) -> bytes:
    """Make the tree of a draft and return its path."""
    tree = LayerPath.of(draft).tree
    os.mkdir(tree, 0o755)
    return tree


def _loaded(layers: Sequence[LayerPath]) -> list[LayerTree]:
    see(*(layer.tree for layer in layers))
    return [LayerTree.read(layer) for layer in layers]


def _linked(tree: bytes, owners: OwnersManifest) -> Iterator[bytes]:
    """Yield the paths in ``owners`` of files of ``tree`` that have several names."""
    from sundog.image.layer.directories import Directories

    with Directories(tree) as directories:
        for path, record in owners.items():
            if record.kind in "flpcb":
                directory, _, name = path.rpartition(b"/")
                if os.lstat(name, dir_fd=directories.open(directory)).st_nlink > 1:
                    yield path


def finish_draft(
    draft: bytes, owners: OwnersManifest, source: str = "", *, known: StepOwners | None = None
) -> LayerInfo:
    """Write the manifest of a draft, and its links; return the info of the layer.

    ``known`` are the owners that the step itself knows.
    """
    place = LayerPath.of(draft)
    with open(place.owners, "wb") as file:
        file.write(pack_owners(owners))
    with open(place.links, "wb") as file:
        file.write(pack_links(_linked(place.tree, owners)))
    root = owners.get(b"")
    root_opaque = root is not None and root.opaque
    if known is None:
        return LayerInfo(source, root_opaque=root_opaque)
    return LayerInfo(
        source, root_opaque=root_opaque, guessed=known.guessed, unrecorded=known.unrecorded
    )
