"""Recognise images that are one file, by their content: SquashFS, SIF, Singularity 2.

Sources of --bind can be such files, too, and so can layers of an image in storage.  ``main`` looks
for them before it enters the namespaces, because their server must stay outside.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import kernel_error
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.record.kept import CONTAINER_IMAGE, container_place
from sundog.base.record.magic import IMAGE_HEAD, image_kind
from sundog.base.record.stack import read_stack
from sundog.base.record.stored_path import stored_place
from sundog.errors import NotInStorage, StoreError
from sundog.runtime.container.paths import OPEN_DIRECTORY, exists
from sundog.runtime.launcher.host_sources import HostSources
from sundog.runtime.launcher.image import image_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.stores import SharedImage
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.storage import Storage


def sources_of(
    line: CommandLine, storage: Storage, shared: SharedImage | None = None, fetcher: int = -1
) -> HostSources:
    """Return the image and the sources of ``line``; start the server of those that are one file.

    ``shared`` is the image, if it is in a shared store.  ``fetcher`` is as of ``Request``.  Few
    starts load the server.  Raises SundogError.
    """
    image, sources = _find_one_files(line, storage)
    layers = [] if image else _layers_in_files(line, storage)
    if fetcher >= 0 and not layers:  # the image came whole
        os.close(fetcher)
        fetcher = -1
    is_plain = not image and not sources and not layers and shared is None
    if is_plain and line.image.record is None:
        return HostSources()
    from sundog.runtime.launcher.file_server import ServedSources

    if shared is not None:
        from sundog.runtime.launcher.shared_sources import SharedSources

        return SharedSources(shared, sources, line)
    store, place = (storage.path, storage.at(b".")) if layers else (b"", b"")
    return ServedSources(image, sources, store, layers, place=place, line=line, fetcher=fetcher)


def _layers_in_files(line: CommandLine, storage: Storage) -> list[bytes]:
    """Return the layers of the image of ``line``, if it is in ``storage`` and some are files."""
    if storage.directory < 0:
        return []
    if line.image.container:
        place = storage.at(container_place(line.image.container) + b"/" + CONTAINER_IMAGE)
    else:
        name = image_name(line.operands[0])
        if name is None:
            return []
        place = stored_place(storage.at(b"."), name, line.image.arch)
    try:
        with Closing(os.open(place, OPEN_DIRECTORY)) as directory:
            stack = read_stack(directory)
            return stack.layers if stack.has_files else []
    except (OSError, StoreError):
        return []  # what is wrong is told when the image is found


def _find_one_files(line: CommandLine, storage: Storage) -> tuple[bytes, list[bytes]]:
    """Return the image if it is one file, else b""; and the sources of binds that are such files.

    A name in ``storage`` beats a file.  Raises KernelError for an image that cannot be read.
    """
    image = line.operands[0]
    if (
        line.image.container
        or not is_one_file(image, must_be_readable=True)
        or is_stored_name(image, storage)
    ):
        image = b""
    sources = [
        source
        for source, destination, _ in line.mounts.binds
        if source != destination and is_one_file(source)
    ]
    return image, sources


def is_one_file(path: bytes, *, must_be_readable: bool = False) -> bool:
    """Tell whether the file ``path`` can be read, and is such an image.

    Raises KernelError for a file that ``must_be_readable`` and is not.
    """
    try:
        if os.stat(path).st_mode & S_IFMT != S_IFREG:
            return False
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            if must_be_readable:
                raise kernel_error("open", path, errno.EACCES) from None
            raise
        with Closing(fd):
            start = os.pread(fd, IMAGE_HEAD, 0)
    except OSError:
        return False
    return image_kind(start) != ""


def is_stored_name(reference: bytes, storage: Storage) -> bool:
    """Tell whether ``reference`` is the name of an image in ``storage``."""
    name = image_name(reference)
    if name is None or storage.directory < 0:
        return False
    try:
        return exists(stored_place(storage.at(b"."), name))
    except NotInStorage:  # it is, for other machines
        return True
