"""Import: an image from a directory or a tarball that holds its root file system.

Import honours Charliecloud's ``/ch/metadata.json`` in it.  It reads a tarball once, from front to
back, so that the tarball may be a pipe, and keeps no copy of it.
"""

from __future__ import annotations

import errno
import os
import stat

from sundog.base.kernel.libc import printable
from sundog.base.record.directory import OWN_COMMAND
from sundog.base.record.layer_path import LayerPath
from sundog.base.record.names import canonical_name
from sundog.base.record.stored_path import path_in_storage
from sundog.errors import ArchiveError, StoreError
from sundog.image.layer.import_directory import foreign_owners
from sundog.image.oci.platform import Platform
from sundog.image.oci.timestamps import timestamp
from sundog.image.store.image_files import Image
from sundog.image.store.layer_ids import layer_id
from sundog.image.store.metadata import OWN_METADATA, imported_config
from sundog.image.store.tree_work import copy_directory, read_in_tree, unpack_archive
from sundog.runtime.linker.elf import ELF_HEADER_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.store import Store

STANDARD_INPUT = "-"
_METADATA_LIMIT = 16 << 20
# Shells and loaders, by which the architecture of a tree is known.
_PROGRAMS = (
    b"bin/sh",
    b"usr/bin/sh",
    b"bin/bash",
    b"bin/busybox",
    b"lib64/ld-linux-x86-64.so.2",
    b"lib64/ld64.so.2",
    b"lib/ld64.so.1",
    b"lib/ld-linux-aarch64.so.1",
    b"lib/ld-linux-armhf.so.3",
    b"lib/ld-linux-riscv64-lp64d.so.1",
    b"lib64/ld-linux-loongarch-lp64d.so.1",
    b"lib/ld-linux.so.2",
)
_HINT = (
    "give a complete tar of a root file system, perhaps compressed, or a directory;"
    " ch-image load reads what docker save or skopeo wrote"
)


def import_image(
    store: Store,
    source: str,
    reference: str,
    platform: Platform | None = None,
    warn: Callable[[str], object] | None = None,
) -> Image:
    """Import ``source``, a directory, a tarball or ``-``, as the image ``reference``.

    An image of that name for its platform is replaced.  ``platform`` and ``warn`` are as in
    ``tree_config``.  Raises what ``read_image`` raises.
    """
    image = read_image(
        store, source, reference, timestamp(), platform=platform, warn=warn, is_kept=True
    )
    store.images.put(image)
    return image


def read_image(
    store: Store,
    source: str,
    reference: str,
    created: str = "",
    *,
    platform: Platform | None = None,
    warn: Callable[[str], object] | None = None,
    is_kept: bool = False,
) -> Image:
    """Put the layer of ``source`` into the store; return the image, which gets no name there.

    In a directory, the user's own files become root's; other users' files keep their owners.
    ``created`` is the image's time (RFC 3339); ``platform`` and ``warn`` are as in ``tree_config``.
    Unless the image ``is_kept``, closing the store removes a layer that was not there before.

    Raises ReferenceSyntaxError, StoreError, or ArchiveError on a tarball that is damaged or
    hostile.
    """
    canonical = canonical_name(reference)
    store.hold()
    if (stored := path_in_storage(os.fsencode(source))) is not None:
        storage = printable(stored[0])
        raise StoreError(
            f"{source} is an image in a storage directory",
            f"ch-image -s {storage} save {stored[1]} | ch-image load - {reference}",
        )
    path = None if source == STANDARD_INPUT else _readable(source)
    with store.faults:
        place = store.scratch.new()
        if path is not None and os.path.isdir(path):
            # In the worker's user namespace all foreign owners look the same.
            foreign = foreign_owners(path)
            info = store.worker.call(
                copy_directory, path, foreign, place, guessed=os.geteuid() != 0
            )
        else:
            try:
                info = store.worker.call(unpack_archive, path, place)
            except ArchiveError as error:
                raise ArchiveError(
                    f"can't import {source}: {error.message}", error.hint or _HINT
                ) from None
        tree = LayerPath.of(place).tree
        config = tree_config(store, tree, created, platform, warn)
        layer = layer_id("import", info.source)
        if is_kept or store.layers.exists(layer):
            store.layers.add(place, layer, info)
        else:
            layer = store.layers.add_own(place, info)
    return Image(canonical, reference, config, (layer,), origin=f"import {source}")


def tree_config(
    store: Store,
    tree: bytes,
    created: str,
    platform: Platform | None = None,
    warn: Callable[[str], object] | None = None,
) -> ImageConfig:
    """Return the configuration of the one layer in ``tree``, from the image's own files in it.

    ``platform`` is what the user says of it.  Without that, the header of its shell or loader
    decides, else the image's own metadata, else this machine.  ``warn`` gets what contradicts that.
    """
    metadata, command = (
        store.worker.call(read_in_tree, tree, path, _METADATA_LIMIT)
        for path in (OWN_METADATA, OWN_COMMAND)
    )
    programs = _platform_of_programs(store, tree)
    otherwise = programs or Platform.of_host()
    config = imported_config(metadata, created, otherwise, command).replace(diff_ids=("",))
    said = Platform.of(config.os, config.architecture, config.variant)
    if platform is not None:
        chosen, source = platform, programs
    elif programs is not None and programs.architecture != said.architecture:
        chosen, source = programs, said
    else:  # only metadata know variants
        return config
    if warn is not None and source is not None and source.architecture != chosen.architecture:
        known = "its programs are" if source == programs else "its /ch/metadata.json says it is"
        warn(f"{known} for {source}; the image becomes one for {chosen}")
    return config.replace(os=chosen.os, architecture=chosen.architecture, variant=chosen.variant)


def _platform_of_programs(store: Store, tree: bytes) -> Platform | None:
    """Return the platform of the first program in ``tree`` whose header tells it."""
    for path in _PROGRAMS:
        head = store.worker.call(read_in_tree, tree, path, ELF_HEADER_SIZE, follow=True)
        found = None if head is None else Platform.of_program(head)
        if found is not None:
            return found
    return None


def _readable(source: str) -> bytes:
    """Return the absolute path of ``source``; raise StoreError when it cannot be read."""
    path = os.path.abspath(os.fsencode(source))
    try:
        needed = os.R_OK | (os.X_OK if stat.S_ISDIR(os.stat(path).st_mode) else 0)
    except FileNotFoundError as error:
        raise StoreError(f"can't import: not found: {source}") from error
    except OSError as error:
        raise StoreError(f"can't import: {source}: {error.strerror}") from error
    if not os.access(path, needed, effective_ids=True):
        reason = os.strerror(errno.EACCES)
        raise StoreError(f"can't import: {source}: {reason}") from PermissionError(
            errno.EACCES, reason, path
        )
    return path
