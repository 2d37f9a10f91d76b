"""Programs that call Apptainer, from PyPI, each in a venv of its own: `make callers`.

The versions are those with which the tests have passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts import account
from scripts.install import PIP
from scripts.place import WorkshopError, digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.check import Workplace

# Programs of the host that definition files ask for, and what makes repositories for them.
NEEDS = (
    "createrepo-c",
    "debootstrap",
    "dnf",
    "gpg",
    "gpg-agent",
    "pacman-package-manager",
    "zypper",
)
VARIABLE = "SUNDOG_CALLERS"  # names the directory of the venvs, for the tests
CALLERS = {
    "cwltool": ("cwltool==3.3.20260925135507",),
    "hpccm": ("hpccm==26.5.0",),
    "jupyter": ("jupyterlab==4.6.6", "nbclient==0.11.0", "nbformat==5.11.1"),
    "miniwdl": ("miniwdl==1.16.0",),
    "reframe": ("ReFrame-HPC==4.10.4",),
    "shpc": ("singularity-hpc==0.1.32",),
    "snakemake": ("snakemake==9.27.1",),
    "spython": ("spython==0.3.14",),
    "toil": ("toil[cwl,wdl]==9.6.0",),
}


def install(place: Workplace, python: Path) -> Path:
    """Return the directory of the venvs; as the ordinary user, make those that are missing."""
    top = place.user.home / ".cache/sundog/callers"
    directory = top / digest([], str(python), *(word for each in CALLERS.values() for word in each))
    for name, wanted in CALLERS.items():
        venv = directory / name
        if (venv / "complete").exists():
            continue
        for command in (
            [str(python), "-m", "venv", "--clear", "--without-pip", str(venv)],
            [*PIP, "--python", f"{venv}/bin/python", "install", *wanted],
            ["touch", f"{venv}/complete"],
        ):
            _run(place, python, command)
    return directory


def _run(place: Workplace, python: Path, command: Sequence[str]) -> None:
    environment = account.environment(place.user, python.parent)
    status = account.run(place.user, command, env=environment, cwd=place.path)
    if status:
        raise WorkshopError(f"{' '.join(command)}: exit status {status}")
