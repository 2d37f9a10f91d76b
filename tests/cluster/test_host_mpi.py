"""``ch-run --host-mpi`` with real MPIs: the host's is MPICH 5 of PyPI, or one of Debian."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cluster.conftest import IMAGE, Place, Slurm
from tests.conftest import base_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SOURCE = r"""
#include <mpi.h>
#include <stdio.h>
int main(int c, char **v) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length, rank, size, sum;
  MPI_Init(&c, &v);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Get_library_version(text, &length);
  for (char *p = text; *p; p++) if (*p == '\n' || *p == '\t') *p = ' ';
  printf("rank %d of %d: %d %.60s\n", rank, size, sum, text);
  MPI_Finalize();
  return 0;
}
"""
OWN, NEW = "4.2.1", "5.0.2"


@pytest.fixture(scope="module")
def host(place: Place) -> Path:
    """Return a directory with MPICH 5, which the profile "new" names, and programs for Debian's."""
    directory = place.directory / "host"
    if not (directory / "done").exists():
        directory.mkdir(exist_ok=True)
        subprocess.run(["tar", "-C", directory, "-xf", base_image("mpich")], check=True)
        (directory / "version.c").write_text(SOURCE)
        for name in ("mpich", "openmpi"):
            program, source = f"{directory}/version.{name}", f"{directory}/version.c"
            subprocess.run([f"mpicc.{name}", "-o", program, source], check=True)
        (directory / "new.toml").write_text(f'libraries = ["{directory}/lib/libmpi.so.12"]\n')
        (directory / "done").touch()
    return directory


def versions(place: Place, *words: str | Path) -> list[str]:
    """Run ranks; return what each says of its MPI."""
    done = place.run(*words, env={"UCX_LOG_LEVEL": "fatal"})
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank "))
    count = len(lines)
    for number, line in enumerate(lines):
        assert line.startswith(f"rank {number} of {count}: {count * (count - 1) // 2} "), done
    return [" ".join(line.split()[5:]) for line in lines]


@pytest.mark.parametrize("options", [(), ("--join", "-W")])
def test_another_version_of_mpich(place: Place, host: Path, options: tuple[str, ...]) -> None:
    """The ranks have the MPI of the host's mpirun, and not that with which they are compiled."""
    program = f"{host}/version.mpich"
    command = (*options, f"--bind={host}", IMAGE, "--", program)
    own = versions(place, "mpiexec.mpich", "-launcher", "fork", "-n", "2", "ch-run", *command)
    assert [OWN in text for text in own] == [True, True], own
    start = (host / "bin/mpiexec", "-launcher", "fork", "-n", "2", "ch-run")
    new = versions(place, *start, f"--host-mpi={host}/new.toml", *command)
    assert [NEW in text for text in new] == [True, True], new


def test_under_srun(slurm: Slurm, host: Path) -> None:
    start = ("srun", "--mpi=pmi2", "-N2", "-n2", "ch-run", f"--host-mpi={host}/new.toml")
    found = versions(slurm, *start, f"--bind={host}", IMAGE, "--", f"{host}/version.mpich")
    assert [NEW in text for text in found] == [True, True], found


@pytest.mark.parametrize("name", ["mpich", "openmpi"])
def test_of_the_hosts_linker(place: Place, host: Path, name: str) -> None:
    """Without a profile: the host has both of Debian's, as the image."""
    command = (f"--bind={host}", IMAGE, "--", f"{host}/version.{name}")
    (found,) = versions(place, "ch-run", "--host-mpi", *command)
    assert found.startswith({"mpich": f"MPICH Version: {OWN}", "openmpi": "Open MPI v5"}[name])


def test_image_with_the_newer_one(
    place: Place, host: Path, debian_tar: Path, tmp_path: Path
) -> None:
    """The image has MPICH 5 of PyPI, and the host Debian's, whose name in Debian is another."""
    image = tmp_path / "image"
    image.mkdir()
    subprocess.run(["tar", "-C", image, "--exclude=./dev/*", "-xf", debian_tar], check=True)
    subprocess.run(["cp", "-r", f"{host}/lib", f"{image}/usr/local/"], check=True)
    shown = host / "version.wheel"
    headers = "-I/usr/include/x86_64-linux-gnu/mpich"
    link = [f"{host}/lib/libmpi.so.12", "-Wl,--allow-shlib-undefined"]
    compiler = ["gcc", headers, "-o", str(shown), str(host / "version.c"), *link]
    subprocess.run(compiler, check=True)
    command = (f"--bind={host}", image, "--", shown)
    (own,) = versions(place, "ch-run", "--set-env=LD_LIBRARY_PATH=/usr/local/lib", *command)
    assert NEW in own
    (found,) = versions(place, "ch-run", "--host-mpi", *command)
    assert OWN in found


def test_another_abi_is_refused(place: Place, host: Path, tmp_path: Path) -> None:
    """The image has Open MPI, the host MPICH."""
    image = tmp_path / "image"
    place.run("ch-convert", "--no-clobber", IMAGE, image)
    for path in (image / "usr/lib").rglob("libmpi*.so.12*"):
        path.unlink()
    words = (f"--host-mpi={host}/new.toml", image, "--", "true")
    done = place.run("ch-run", *words, check=False)
    assert done.returncode == 31
    assert (
        "error: the host's libmpi.so.12 (MPICH, Intel MPI, MVAPICH, Cray MPICH) does not fit"
        in (done.stderr)
    )
    assert "libmpi.so.40 (Open MPI 3 to 5): the ABIs 12 and 40 differ" in done.stderr
