"""The storage directory itself: made, recognised, refused.

    version         see ``record.own_storage``
    images/ layers/ blobs/ trees/ cache/
                    see the modules of these names (``trees``: ``copy_driver``)
    skeleton/       mount points below every image that ``ch-run`` mounts; /mnt/0 to /mnt/9 are for
                    the user's binds
    skeleton-build/ the same for RUN, which must not find a passwd that the image lacks
    empty/          an empty directory
    shown/          where each process mounts the layers that are files; made with the first of them
    probe/          which driver works here, one file per kernel and file system
    img/            see ``img_links``
    dlcache/        empty: callers take a directory with it and ``img`` for a storage directory
    tmp/            see ``scratch``
    locks/          see ``locks``
    layouts/        see ``record.known_layouts``
    cache-mounts/   see ``cache_mounts``
    containers/     see ``record.kept``
    deleted/        see ``deleted``
    platforms/      see ``record.stored_entry``
    running/        see ``record.running``
    convert/        see ``convert.temporary``
    run/            what is known of running containers: see ``state.place``
    accounts/       users and groups of the host, which ``ch-run`` keeps for its compiled start
    imported/       results of builds that came in a file: see ``builder.shared.archive``
    sif/            see ``registry.sif_files``
    gzip-indexes/   see ``gzip_indexes``
    refused/        see ``record.lazy_layer``
    starts/         see ``record.start_record``
    verified/       see ``container.verified_layers``
    moved-from-*    see ``moving``
    host-libraries/ what ``ch-run --host-mpi`` has found out: see ``host_mpi.kept``

All of it belongs to one user and one group.  Capabilities over a file need both its owner and its
group mapped into the user namespace (user_namespaces(7)), and Sundog maps only one of each.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.kernel.files import sync_file_system
from sundog.base.record.own_storage import claim_storage

_MOUNT_POINTS = (b"dev", b"etc", b"proc", b"sys", b"tmp")
_SKELETONS = {
    b"skeleton": (b"passwd", b"group", b"hosts", b"resolv.conf"),
    b"skeleton-build": (b"hosts", b"resolv.conf"),
}
_DIRECTORIES = (
    *(b"images", b"layers", b"blobs", b"trees", b"cache", b"probe"),
    *(b"tmp", b"tmp/trash", b"img", b"dlcache"),
)
_USER_POINTS = [b"skeleton/mnt/%d" % number for number in range(10)]
_ADDED = b"blobs"  # stores of the first versions lack it
_ADDED_LATER = (_USER_POINTS[-1], b"dlcache")
_MADE_LAST = USE_LOCK = b"locks/use"  # a directory that has it is complete

COLLECTION_DUE = b"locks/collection-due"


def open_directory(path: bytes) -> None:
    """Make sure that ``path`` is a complete storage directory of this user.

    Raises StoreError as ``claim_storage`` does.
    """
    claim_storage(path)
    if not all(os.path.exists(os.path.join(path, name)) for name in (_MADE_LAST, _ADDED)):
        _furnish(path)
    elif not all(os.path.exists(os.path.join(path, name)) for name in _ADDED_LATER):
        # A store of an earlier version.  ``ch-run`` works without them, so if they can't be made,
        # the store can still be read.
        with suppress(OSError):
            _furnish(path)


def _furnish(path: bytes) -> None:
    """Make the contents of a storage directory; other processes may do so at the same time."""
    for name in _DIRECTORIES:
        _make_directory(os.path.join(path, name), 0o700)
    _make_directory(os.path.join(path, b"empty"), 0o755)  # for mounts, as the skeletons
    for skeleton, files in _SKELETONS.items():
        _make_directory(os.path.join(path, skeleton), 0o755)
        for name in _MOUNT_POINTS:
            mode = 0o1777 if name == b"tmp" else 0o755
            _make_directory(os.path.join(path, skeleton, name), mode)
        for name in files:
            _make_file(os.path.join(path, skeleton, b"etc", name), 0o644)
    for name in (b"skeleton/mnt", *_USER_POINTS):
        _make_directory(os.path.join(path, name), 0o755)
    _make_directory(os.path.join(path, b"locks"), 0o700)
    sync_file_system(path)
    _make_file(os.path.join(path, _MADE_LAST), 0o600)


def _make_directory(path: bytes, mode: int) -> None:
    """Make a directory, if it is not there, with exactly this mode; the umask does not count."""
    with suppress(FileExistsError):
        os.mkdir(path)
    os.chmod(path, mode)


def _make_file(path: bytes, mode: int) -> None:
    """Make an empty file, if it is not there, with exactly this mode."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, mode)
    os.close(fd)
