"""Parts of the starting program (mpirun, srun, or Cray's aprun) that a rank of MPI needs.

These are variables, files of a session, and descriptors.  Descriptors pass by themselves.  Sources:
PMIx Standard 4.1, chapter 5 (environment variables); Slurm's MPI guide; the PALS manual of HPE.
"""

from __future__ import annotations

import os

from sundog.runtime.container.mountpoint import components
from sundog.runtime.container.operations import DESIRED, OPTIONAL, Bind
from sundog.runtime.container.paths import exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment

# Each names a directory or a file that the rank opens, at this path.
SESSION_VARIABLES = (b"PMIX_SERVER_TMPDIR", b"PALS_SPOOL_DIR", b"PALS_APINFO")
# Slurm's plugin for PMIx tells the rank this directory by no variable.
_SLURM_SESSION = b"%b/spmix_appdir_%d_%b.%b"
_SLURM_STEP = (b"SLURM_JOB_ID", b"SLURM_STEP_ID")
_MUNGE_DIRECTORY = b"/run/munge"

NATIVE_SECURITY_WARNING = (
    "PMIx will refuse this rank, because it calls itself user %d: run PMIX_MCA_psec=none mpirun …, "
    "or use -u $(id -u) -g $(id -g)"
)
NATIVE_SECURITY_HINT = (
    "leave out -u, -g and --user: then it calls itself user %d, group %d; "
    "or run PMIX_MCA_psec=none mpirun …"
)
RANK_NOTE = "PMIx compares users, so this rank calls itself user %d, group %d"

# --unset-env='*' leaves the variables whose names begin like this.
LAUNCHER_PREFIXES = (
    b"FI_CXI_",
    b"FLUX_",
    b"HYDI_",
    b"MPI_LOCAL",
    b"OMPI_",
    b"PALS_",
    b"PMIX_",
    b"PMI_",
    b"PRTE_",
    b"SLINGSHOT_",
    b"SLURM_",
)


def session_places(
    environment: Environment, host_tmp: bytes | None, *, writable: bool
) -> list[Bind]:
    """Return the binds that show the session's files of the host at their own paths.

    ``host_tmp`` is what the container shows at /tmp, or None if /tmp is private.  Leaves out what
    the container shows anyway.  The mount points are not made in a ``writable`` image, where they
    would stay.
    """
    paths = [environment.get(name) or b"" for name in SESSION_VARIABLES]
    if b"munge" in (environment.get(b"PMIX_SECURITY_MODE") or b""):
        paths.append(_MUNGE_DIRECTORY)
    job, step = [environment.get(name) or b"" for name in _SLURM_STEP]
    if paths[0] and job.isdigit() and step.isdigit():
        tmp = environment.get(b"SLURM_PMIX_TMPDIR") or environment.get(b"PMIX_SYSTEM_TMPDIR")
        paths.append(_SLURM_SESSION % (tmp or b"/tmp", os.getuid(), job, step))
    places: list[Bind] = []
    for path in paths:
        names = components(path)
        is_shown = host_tmp is not None and components(host_tmp) == [b"tmp"] == names[:1]
        if not path.startswith(b"/") or not names or b".." in names or is_shown:
            continue
        if exists(path) and all(place.source != path for place in places):
            in_tmpfs = host_tmp is None and names[0] == b"tmp"
            need = OPTIONAL if writable and not in_tmpfs else DESIRED
            places.append(Bind(path, path, need, in_tmpfs=in_tmpfs))
    return places


def is_compared(environment: Environment) -> bool:
    """Tell whether PMIx compares the user of this process with what the rank says of itself."""
    return environment.get(b"PMIX_SECURITY_MODE") == b"native"


def native_security_fails(environment: Environment, uid: int) -> bool:
    """Tell whether PMIx will refuse a rank whose user is ``uid`` in the container.

    Its module "native" compares what the rank says of itself with what the kernel says of the
    socket (SO_PEERCRED), and there the rank is the user who called.
    """
    return is_compared(environment) and uid != os.geteuid()
