"""Debian with Open MPI and MPICH, and a program of the tests for each."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from scripts.bases.bootstrap import bootstrap, needs
from scripts.place import WorkshopError

NEEDS = (*needs(), "gcc", "libc6-dev", "libmpich-dev", "libopenmpi-dev")
IMPLEMENTATIONS = ("mpich", "openmpi")
SOURCE = Path(__file__).parent / "mpi/ranks.c"
# Libraries for GPUs, half of the image, which only plug-ins of UCX use.
UNUSED = "libLLVM* libamd_comgr* libamdhip64* libhsa-runtime* libz3* ucx/*rocm* ucx/*cuda*"
HOOK = """\
install -m 755 "$PROGRAMS"/ranks.* "$1/usr/local/bin"
rm -f "$1/etc/hostname" "$1/etc/resolv.conf"
cd "$1"/usr/lib/*-linux-gnu && rm -rf $UNUSED
"""
# `mpirun` inside the image needs both packages; ranks alone would need only the libraries.
INCLUDE = ("mpich", "openmpi-bin")


def make(out: Path) -> None:
    """Write the tarball.  The programs are compiled on this machine, which has the same Debian."""
    with tempfile.TemporaryDirectory() as directory:
        for name in IMPLEMENTATIONS:
            command = [f"mpicc.{name}", "-O2", "-o", f"{directory}/ranks.{name}", str(SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise WorkshopError(f"{command[0]}: {done.stderr}")
        bootstrap(
            out,
            variant="minbase",
            include=INCLUDE,
            hooks=[HOOK],
            environment={"PROGRAMS": directory, "UNUSED": UNUSED},
        )
