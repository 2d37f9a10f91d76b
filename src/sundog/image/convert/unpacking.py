"""Whole images that become trees: in a directory, or as the one layer of an image in the store."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from sundog.base.kernel.files import Closing
from sundog.base.record.directory import RECORDS, RECORDS_DIRECTORY
from sundog.base.record.layer_path import LayerPath
from sundog.base.record.owners import pack_owners, read_owners
from sundog.errors import ArchiveError
from sundog.image.convert.flow import deferred_signals, pump, task, wide_pipe
from sundog.image.convert.outputs import draft_of, exchange, told
from sundog.image.layer.names import display
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.unpack import unpack
from sundog.image.store.image_files import Image
from sundog.image.store.layer_ids import layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.tree_work import finish_draft, new_tree
from sundog.image.transfer.importer import tree_config
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.process.child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.oci.platform import Platform
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Transfer


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules for a tar's unpacking, see ``layer.unpack``; ``wraps``: a directory may wrap it."""

    wraps: bool
    is_flat: bool
    keeps_xattrs: bool


def to_store(
    store: Store,
    stream: BinaryIO,
    rules: Rules,
    created: str,
    transfer: Transfer,
    *,
    platform: Platform | None,
    warn: Callable[[str], object],
) -> Image:
    """Put the image in ``stream`` into the store, as one layer; return it without a name.

    ``platform`` and ``warn`` are as in ``tree_config``.
    """
    store.hold()
    with store.faults:
        draft = store.scratch.new()
        source, root_opaque = _unpacked(stream, draft, rules, transfer)
        info = LayerInfo(source, root_opaque=root_opaque)
        config = tree_config(store, LayerPath.of(draft).tree, created, platform, warn)
        # With other rules, the same tar is another layer.
        words = [] if rules.keeps_xattrs else ["no-xattrs"]
        identity = layer_id("import", source, *words)
        store.layers.add(draft, identity, info)
    return Image("", "", config, (identity,))


def to_directory(stream: BinaryIO, destination: str, rules: Rules, transfer: Transfer) -> None:
    """Make the directory ``destination`` of the image in ``stream``, in place of what is there.

    Its file of records says what its inodes don't show.  Raises ArchiveError, SundogError.
    """
    making = draft_of(destination)
    try:
        with told(destination, making):
            os.mkdir(making, 0o700)
            _unpacked(stream, making, rules, transfer)
            _as_root(lambda: _place(making, os.path.abspath(os.fsencode(destination.rstrip("/")))))
    finally:
        if os.path.lexists(making):
            with suppress(OSError):
                _as_root(lambda: remove_tree(making))


def _unpacked(stream: BinaryIO, draft: bytes, rules: Rules, transfer: Transfer) -> tuple[str, bool]:
    """Unpack ``stream`` in ``draft``; return its digest, and whether its root is opaque."""
    read_end, write_end = wide_pipe()

    def inside(tie: Callable[[], None]) -> tuple[str, bool]:
        enter_namespaces(0, 0)
        tie()
        os.umask(0o022)
        tree = new_tree(draft)
        with open(read_end, "rb", buffering=0) as tar:
            unpacked = unpack(
                tar,
                tree,
                import_rules=rules.wraps,
                is_flat=rules.is_flat,
                keeps_xattrs=rules.keeps_xattrs,
            )
        finish_draft(draft, unpacked.owners)
        return unpacked.diff_id, unpacked.root_opaque

    with task(inside, [read_end]) as running:
        os.close(read_end)
        with suppress(BrokenPipeError), Closing(write_end):  # the process tells why
            pump(stream, write_end, transfer)
        outcome = running.result()
    match outcome:
        case (str(digest), bool(is_opaque)):
            return digest, is_opaque
    raise AssertionError


def _place(draft: bytes, destination: bytes) -> None:
    """Give the tree in ``draft`` its file of records and its name; what was there is then in it."""
    place = LayerPath.of(draft)
    manifest = read_owners(place.owners)
    # Whiteouts hide nothing in an image of one layer.
    shown = {path: record for path, record in manifest.items() if record.kind != "w"}
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with Closing(os.open(place.tree, flags)) as root:
        before = os.fstat(root)
        with suppress(FileExistsError):
            os.mkdir(RECORDS_DIRECTORY, 0o755, dir_fd=root)
        try:
            directory = os.open(RECORDS_DIRECTORY, flags, dir_fd=root)
        except NotADirectoryError as error:
            raise ArchiveError(
                f"/{display(RECORDS_DIRECTORY)} is not a directory in the image",
                "rename it: a directory image keeps its records there",
            ) from error
        with Closing(directory):
            inside = os.fstat(directory)
            remove_tree(RECORDS, dir_fd=directory)
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(RECORDS, new, 0o644, dir_fd=directory), "wb") as file:
                file.write(pack_owners(shown))
            os.utime(directory, ns=(inside.st_atime_ns, inside.st_mtime_ns))
        os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))
    exchange(place.tree, destination)


def _as_root(act: Callable[[], None]) -> None:
    """Call ``act`` in a process in which the modes of the user's own files are no obstacle.

    Signals wait until it has ended.
    """

    def inside(tie: Callable[[], None]) -> None:
        enter_namespaces(0, 0)
        tie()
        act()

    with deferred_signals():
        Child(inside).result()
