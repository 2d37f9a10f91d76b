"""``ch-run --host-mpi``: what ``main`` needs of it.  Few starts load the rest."""

import os

from sundog.base.record.location import usual_storage
from sundog.errors import UsageError
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.environment import SetFromImage
from sundog.runtime.launcher.image import Image
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.options import CommandLine
from sundog.runtime.launcher.storage import Storage, private_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.host_mpi.prepare import HostMpi

# The variables of the profile, for each process that enters the container: see host_mpi.shown.
HOST_MPI_ENVIRONMENT = b"/.sundog/environment"
NO_HOST_MPI = (
    "the group's container does not have the host's MPI",
    "give --host-mpi to all processes of a group, or to none",
)


def host_mpi_of(
    line: CommandLine, storage: Storage, environment: Environment, messages: Messages
) -> "HostMpi | None":
    """Return what --host-mpi asks for, or None without the option.

    What it finds out is kept in ``storage``, or else in the user's usual storage directory, if no
    other user can enter it.  Raises SundogError.
    """
    if line.host_mpi is None:
        return None
    from sundog.runtime.host_mpi.prepare import HostMpi  # noqa: PLC0415

    kept = storage if storage.is_private else private_storage(usual_storage(environment))
    return HostMpi(
        line.host_mpi,
        environment,
        # The storage directory is opened again in the namespaces.
        os.dup(kept.directory) if kept.directory >= 0 else -1,
        host_glibc=line.host_glibc,
        writable=line.write,
        told=messages.verbose,
        warned=messages.warning,
    )


def use_host_environment(line: CommandLine) -> None:
    """Let the command have the variables of the profile, before those of --set-env.

    Raises UsageError for --host-glibc alone.
    """
    if line.host_mpi is not None:
        line.changes.insert(0, SetFromImage(b"\0", HOST_MPI_ENVIRONMENT, NO_HOST_MPI))
    elif line.host_glibc:
        raise UsageError(
            "--host-glibc needs --host-mpi", "give both options, or leave out --host-glibc"
        )


def show_host_mpi(
    host: "HostMpi",
    plan: "Plan",
    directory: int,
    identity: tuple[bytes, bool],
    messages: Messages,
) -> "list[Operation]":
    """Mount the host's MPI for the container that is about to be entered; return the operations.

    ``plan`` has mounted the image in ``directory``, and gets the operations, too.  ``identity`` is
    the image's ``content_identity``.  Raises SundogError if the host's MPI does not fit the image.
    """
    image, is_stable = identity
    more = host.show(directory, plan, image, is_stable=is_stable)
    for operation in (*host.places, *more):
        messages.debug(operation.describe())
    plan.operations += more
    return more


def content_identity(line: CommandLine, image: Image, storage: Storage) -> tuple[bytes, bool]:
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
