"""Slurm on this node: its commands, munge, the kinds of MPI that it starts, and its oci.conf."""

from __future__ import annotations

import os
import re
import shutil

from sundog.errors import ADMINISTRATOR, Hint, NotHere, SundogError
from sundog.front.doctor.outcome import Check
from sundog.front.doctor.programs import output_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Directories of slurm.conf; the first is that of a node without files of its own.
_CONFIGURATIONS = ("/run/slurm/conf", "/etc/slurm", "/etc/slurm-llnl", "/usr/local/etc")
_OCI, _SLURM = "oci.conf", "slurm.conf"
_OURS = ("ch-run", "ch-run-oci")
_PAIR = re.compile(r"(\w+)=([^,\s]+)")  # of AuthInfo
_RUN = re.compile(r"^\s*RunTimeRun\s*=\s*\"?(?:exec\s+)?([^\s\"]+)", re.IGNORECASE | re.MULTILINE)
_CONFIG_LIMIT = 1 << 20  # bytes of an oci.conf
_KINDS = ("pmix", "pmi2", "cray_shasta")
# Variables that launchers give to each rank, and the kinds of the launchers.
_RANKS = (("PMIX_RANK", "PMIx"), ("PMI_RANK", "PMI"), ("PALS_RANKID", "PALS"))
# The directories that programs of these launchers use.
_PLACES = ("PMIX_SERVER_TMPDIR", "PALS_SPOOL_DIR")


def slurm_checks() -> Iterator[Check]:
    """Yield the checks of Slurm; only one if it is not here."""
    yield Check("Slurm", _slurm, in_child=False)
    if shutil.which("srun") and _is_configured():
        yield Check("Slurm: munge", _munge, in_child=False)
        yield Check("Slurm: MPI", _mpi, in_child=False)
        yield Check("Slurm: oci.conf", _oci, in_child=False)
    yield Check("MPI session", _session, in_child=False)


def _slurm() -> str:
    srun = shutil.which("srun")
    if srun is None:
        raise NotHere("no srun in $PATH")
    if not _is_configured():
        raise NotHere(f"{srun} is installed, but there is no {_SLURM}")
    version = output_of([srun, "--version"]).strip()
    job = os.environ.get("SLURM_JOB_ID")
    where = f"in job {job}" if job else "not in a job"
    return f"{version}, {srun}; {where}"


def _munge() -> str:
    """Believe Slurm's own answer; without one, make a credential, and decode it."""
    settings = _settings()
    if settings:
        kind = settings.get("AuthType", "").removeprefix("auth/")
        if kind != "munge":
            raise NotHere(f"Slurm uses {kind or 'another way'} to know users, not munge")
        socket = dict(_PAIR.findall(settings.get("AuthInfo", ""))).get("socket")
        return f"the controller of Slurm took a credential of {socket or 'munge'}"
    if shutil.which("munge") is None or shutil.which("unmunge") is None:
        raise NotHere("no munge in $PATH; Slurm may use another way to know users")
    try:
        credential = output_of(["munge", "--no-input"])
    except SundogError as error:
        error.hint = Hint("", ADMINISTRATOR, "systemctl start munge")
        raise
    output_of(["unmunge"], stdin=credential.encode())
    return "a credential was made and decoded"


def _settings() -> dict[str, str]:
    """Return what Slurm's controller says of its configuration; nothing if it does not answer."""
    try:
        said = output_of(["scontrol", "show", "config"])
    except (SundogError, OSError):
        return {}
    lines = (line.partition("=") for line in said.splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def _mpi() -> str:
    said = output_of(["srun", "--mpi=list"])
    found = [kind for kind in _KINDS if re.search(rf"\b{kind}", said)]
    default = os.environ.get("SLURM_MPI_TYPE")
    text = f"srun --mpi={'|'.join(found)}" if found else "none"
    if default:
        text += f"; $SLURM_MPI_TYPE is {default}"
    if "pmix" not in found:
        raise NotHere(
            f"srun has no --mpi=pmix ({text})",
            Hint(
                "start Open MPI 5 programs with mpirun; or ask the administrator for Slurm's "
                "plug-in",
                ADMINISTRATOR,
            ),
        )
    return text


def _oci() -> str:
    """Look at what ``srun --container`` would run."""
    path = next(filter(os.path.exists, _candidates(_OCI)), None)
    if path is None:
        raise NotHere(
            "no oci.conf beside slurm.conf: srun --container does not work; srun ch-run does",
            Hint(
                "ask the administrator for one of the two files in docs/how-to/slurm.md",
                ADMINISTRATOR,
            ),
        )
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_CONFIG_LIMIT)
    except PermissionError:
        raise NotHere(f"this user may not read {path}") from None
    found = _RUN.search(text)
    if found is None:
        raise NotHere(f"{path} has no RunTimeRun, so srun --container runs another program")
    name = found[1]
    if os.path.basename(name) not in _OURS:
        raise NotHere(f"{path} runs {name}, not Sundog")
    program = shutil.which(name)
    if program is None:
        raise SundogError(
            f"{path} runs {name}, which is not there",
            Hint("ask the administrator to write its absolute path into that file", ADMINISTRATOR),
        )
    return f"{path} runs {program}"


def _is_configured() -> bool:
    """Tell whether Slurm has a configuration: in a file, or from a server that DNS names."""
    if any(map(os.path.exists, _candidates(_SLURM))):
        return True
    try:
        output_of(["srun", "--version"])
    except (SundogError, OSError):
        return False
    return True


def _candidates(name: str) -> Iterator[str]:
    """Yield where a file of Slurm may be."""
    if conf := os.environ.get("SLURM_CONF"):
        yield os.path.join(os.path.dirname(conf), name)
        return
    for place in _CONFIGURATIONS:
        yield os.path.join(place, name)


def _session() -> str:
    """Look at what the launcher of MPI programs has given to this process."""
    found = [kind for name, kind in _RANKS if os.environ.get(name)]
    if not found:
        raise NotHere("this process is not a rank of an MPI program")
    places = [os.environ[name] for name in _PLACES if os.environ.get(name)]
    for place in places:
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise SundogError(
                f"{place} of the MPI session can't be used here",
                "start ch-checkns as a rank: srun ch-checkns --all, or mpirun",
            )
    return ", ".join((*found, *places))
