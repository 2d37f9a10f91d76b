"""``ch-run --host-mpi``: what every start has of it."""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.runtime.launcher.environment import SetFromImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.options import CommandLine

# The variables of the profile, for each process that enters the container: see host_mpi.shown.
_HOST_MPI_ENVIRONMENT = b"/.sundog/environment"
_NO_HOST_MPI = (
    "the group's container does not have the host's MPI",
    "give --host-mpi to all processes of a group, or to none",
)


def use_host_environment(line: CommandLine) -> None:
    """Let the command have the variables of the profile, before those of --set-env.

    Raises UsageError for --host-glibc alone.
    """
    if line.host_mpi.profile is not None:
        line.environment.changes.insert(0, SetFromImage(b"\0", _HOST_MPI_ENVIRONMENT, _NO_HOST_MPI))
    elif line.host_mpi.glibc:
        raise UsageError(
            "--host-glibc needs --host-mpi", "give both options, or leave out --host-glibc"
        )
