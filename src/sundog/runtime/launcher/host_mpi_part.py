"""The part of a start with --host-mpi.

Few starts import this module.  In the wheel it is in a joined module of its own.
"""

from __future__ import annotations

import os

from sundog.base.configuration.keys import HOST_MPI_PROFILE
from sundog.base.configuration.storage import usual_storage
from sundog.errors import SundogError
from sundog.runtime.host_mpi.prepare import HostMpi
from sundog.runtime.launcher.part import MountedContainer, Part
from sundog.runtime.launcher.storage import Storage, private_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.request import Request


class HostMpiPart(Part):
    """The host's MPI, which must fit the image."""

    __slots__ = ("_host", "_line", "_storage")

    def __init__(self, name: bytes, request: Request, storage: Storage) -> None:
        """Read the profile ``name``; if it is empty, the configuration's, else the default one.

        What the part finds out is kept in ``storage``, or else in the user's usual storage
        directory, if no other user can enter it.  Raises SundogError.
        """
        line, environment, messages = request.line, request.environment, request.messages
        kept = storage if storage.is_private else private_storage(usual_storage(environment))
        configured = b"" if name else b"".join(request.holding.said(HOST_MPI_PROFILE))
        try:
            self._host = HostMpi(
                name or configured,
                environment,
                # The storage directory is opened again in the namespaces.
                os.dup(kept.directory) if kept.directory >= 0 else -1,
                host_glibc=line.host_mpi.glibc,
                writable=line.image.write,
                told=messages.verbose,
                warned=messages.warning,
            )
        except SundogError as error:
            if configured:
                place = request.holding.place(HOST_MPI_PROFILE)
                raise SundogError(f"{place}: {error.message}", error.hint) from None
            raise
        super().__init__(self._host.places)
        self._line = line
        self._storage = storage

    def mounted(self, container: MountedContainer) -> None:
        """Add the mounts that depend on the image.  Raises SundogError if the MPI does not fit."""
        identity, is_stable = _content_identity(self._line, container.image, self._storage)
        more = self._host.show(container.directory, container.plan, identity, is_stable=is_stable)
        for operation in (*self.plan(), *more):
            self._line.messages.debug(operation.describe())
        container.add(more)


def _content_identity(line: CommandLine, image: Image, storage: Storage) -> tuple[bytes, bool]:
    """Return bytes that identify an image, and whether they stand for its content, too.

    Layers in a storage directory never change.  A file has its size and times.
    """
    if image.named:
        place = os.fstat(storage.directory)
        layers = b" ".join([layer.rpartition(b"/")[2] for layer in image.layers])
        return b"layers %d %d %b" % (place.st_dev, place.st_ino, layers), True
    if image.root.directory:
        return b"directory " + image.root.directory, False
    file = os.stat(line.operands[0])
    state = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)
    return b"file %d %d %d %d %d" % state, True
